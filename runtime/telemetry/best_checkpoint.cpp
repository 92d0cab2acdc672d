#include "runtime/telemetry/best_checkpoint.hpp"

#include "runtime/telemetry/storage.hpp"

#include <nlohmann/json.hpp>

#include <cmath>

namespace millrace::telemetry {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view candidate_prefix = ".candidate-";
constexpr const char* replaced = ".discarded-best";

/// The files of `from` under `to`, as links where the file system has them.
void link_tree(const fs::path& from, const fs::path& to) {
  fs::remove_all(to);
  fs::create_directories(to);
  for (const auto& entry : fs::recursive_directory_iterator(from)) {
    const auto target = to / entry.path().lexically_relative(from);
    std::error_code refused;
    if (entry.is_directory())
      fs::create_directories(target);
    else if (fs::create_hard_link(entry.path(), target, refused); refused)
      fs::copy_file(entry.path(), target);
  }
}

} // namespace

best_checkpoint::best_checkpoint(fs::path checkpoints, std::string metric, bool highest_is_best)
    : checkpoints_{std::move(checkpoints)}, metric_{std::move(metric)}, highest_is_best_{highest_is_best} {
  if (metric_.empty())
    return;
  finish();
  const auto about = folder() / "best.json";
  if (!fs::exists(about))
    return;
  const auto read = nlohmann::json::parse(read_file(about), nullptr, false);
  if (read.is_object() && read.value("metric", "") == metric_ && read.contains("step") && read.contains("value")) {
    best_step_ = read.at("step").get<std::int64_t>();
    best_value_ = read.at("value").get<double>();
  }
}

fs::path best_checkpoint::candidate(std::int64_t step) const {
  return checkpoints_ / (std::string{candidate_prefix} + std::to_string(step));
}

void best_checkpoint::seen(const metric_row& row) {
  const auto value = metric_.empty() ? std::nullopt : row.get(metric_);
  if (!value || !std::isfinite(*value))
    return;
  if (!of_evaluation()) {
    sum_ += *value;
    ++count_;
    return;
  }
  values_[row.step] = *value;
  if (fs::exists(candidate(row.step)))
    offer(row.step, *value);
}

void best_checkpoint::stored(std::int64_t step, const fs::path& folder) {
  if (metric_.empty() || (!of_evaluation() && count_ == 0))
    return;
  try {
    link_tree(folder, candidate(step));
  } catch (const fs::filesystem_error& error) {
    throw storage_error(std::string{"best checkpoint: "} + error.what());
  }
  if (!of_evaluation()) {
    offer(step, sum_ / static_cast<double>(count_));
    sum_ = 0;
    count_ = 0;
  } else if (const auto value = values_.find(step); value != values_.end()) {
    offer(step, value->second);
  }
}

void best_checkpoint::offer(std::int64_t step, double value) {
  try {
    const bool better = !best_step_ || (highest_is_best_ ? value > best_value_ : value < best_value_);
    if (!better) {
      fs::remove_all(candidate(step));
      return;
    }
    replace_file(candidate(step) / "best.json",
                 nlohmann::json{{"step", step}, {"metric", metric_}, {"value", value}}.dump() + "\n");
    const auto aside = checkpoints_ / replaced;
    fs::remove_all(aside);
    if (fs::exists(folder()))
      fs::rename(folder(), aside);
    fs::rename(candidate(step), folder());
    fs::remove_all(aside);
    best_step_ = step;
    best_value_ = value;
  } catch (const fs::filesystem_error& error) {
    throw storage_error(std::string{"best checkpoint: "} + error.what());
  }
}

void best_checkpoint::finish() {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(checkpoints_, ignored))
    if (entry.path().filename().string().starts_with(candidate_prefix))
      fs::remove_all(entry.path(), ignored);
}

} // namespace millrace::telemetry
