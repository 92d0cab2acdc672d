#include "runtime/telemetry/best_checkpoint.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/run_files/storage.hpp"

#include <nlohmann/json.hpp>

#include <cmath>

namespace millrace::telemetry {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view candidate_prefix = ".candidate-";

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
  const auto read = formats::json_or_discarded(run_files::read_file(about));
  if (!read.is_object())
    return;
  const auto of = read.find("metric"), step = read.find("step"), value = read.find("value");
  if (of != read.end() && *of == metric_ && step != read.end() && step->is_number_integer() && value != read.end()
      && value->is_number()) {
    best_step_ = step->get<std::int64_t>();
    best_value_ = value->get<double>();
  }
}

fs::path best_checkpoint::candidate(std::int64_t step) const {
  return checkpoints_ / (std::string{candidate_prefix} + std::to_string(step));
}

void best_checkpoint::seen(const metric_row& row) {
  const auto value = metric_.empty() ? std::nullopt : row.get(metric_);
  if (!value || !std::isfinite(*value))
    return;
  values_[row.step] = *value;
  if (of_evaluation() && fs::exists(candidate(row.step)))
    offer(row.step, *value);
}

/// A checkpoint is written beside later steps: their figures are the next one's.
std::optional<double> best_checkpoint::mean_until(std::int64_t step) {
  double sum = 0;
  std::int64_t count = 0;
  for (auto at = values_.begin(); at != values_.end() && at->first <= step; at = values_.erase(at), ++count)
    sum += at->second;
  return count > 0 ? std::optional(sum / static_cast<double>(count)) : std::nullopt;
}

void best_checkpoint::stored(std::int64_t step, const fs::path& folder) {
  if (metric_.empty())
    return;
  std::optional<double> value;
  if (!of_evaluation()) {
    value = mean_until(step);
    if (!value)
      return;
  } else if (const auto known = values_.find(step); known != values_.end()) {
    value = known->second;
  }
  try {
    link_tree(folder, candidate(step));
  } catch (const fs::filesystem_error& error) {
    throw run_files::storage_error(std::string{"best checkpoint: "} + error.what());
  }
  if (value)
    offer(step, *value);
}

void best_checkpoint::offer(std::int64_t step, double value) {
  try {
    const bool better = !best_step_ || (highest_is_best_ ? value > best_value_ : value < best_value_);
    if (!better) {
      fs::remove_all(candidate(step));
      return;
    }
    run_files::replace_file(candidate(step) / "best.json",
                            nlohmann::json{{"step", step}, {"metric", metric_}, {"value", value}}.dump() + "\n",
                            run_files::survives::power_cut);
    run_files::swap_folder(candidate(step), folder());
    run_files::flush_to_disk(checkpoints_);
    fs::remove_all(candidate(step)); // the best one until now
    best_step_ = step;
    best_value_ = value;
  } catch (const fs::filesystem_error& error) {
    throw run_files::storage_error(std::string{"best checkpoint: "} + error.what());
  }
}

void best_checkpoint::finish() {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(checkpoints_, ignored))
    if (entry.path().filename().string().starts_with(candidate_prefix))
      fs::remove_all(entry.path(), ignored);
}

} // namespace millrace::telemetry
