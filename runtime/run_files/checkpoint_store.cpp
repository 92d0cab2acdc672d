#include "runtime/run_files/checkpoint_store.hpp"

#include "runtime/run_files/manifest.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>

namespace millrace::run_files {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view partial = ".partial-";
constexpr std::string_view discarded = ".discarded-";

std::string step_name(std::int64_t step) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "step-%06lld", static_cast<long long>(step));
  return text.data();
}

std::optional<std::int64_t> step_of(std::string_view name) {
  if (!name.starts_with("step-"))
    return std::nullopt;
  name.remove_prefix(5);
  std::int64_t step = -1;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), step);
  if (error != std::errc{} || end != name.data() + name.size() || step < 0)
    return std::nullopt;
  return step;
}

/// Every file under `folder`, and every folder including itself, deepest first.
void flush_tree(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.is_directory())
      flush_tree(entry.path());
    else
      flush_to_disk(entry.path());
  }
  flush_to_disk(folder);
}

} // namespace

checkpoint_attempt::checkpoint_attempt(const checkpoint_store& store, std::int64_t step, fs::path folder)
    : store_{&store}, step_{step}, folder_{std::move(folder)} {
}

checkpoint_attempt::checkpoint_attempt(checkpoint_attempt&& other) noexcept
    : store_{other.store_}, step_{other.step_}, folder_{std::move(other.folder_)} {
  other.folder_.clear();
}

checkpoint_attempt::~checkpoint_attempt() {
  std::error_code ignored;
  if (!folder_.empty())
    fs::remove_all(folder_, ignored);
}

void checkpoint_attempt::write(const fs::path& name, std::string_view bytes) const {
  const auto path = folder_ / name;
  std::error_code ignored;
  fs::create_directories(path.parent_path(), ignored);
  const descriptor file = open_to_append(path);
  write_all(file.get(), bytes, path);
}

fs::path checkpoint_attempt::commit() {
  const auto target = store_->folder_ / step_name(step_);
  try {
    store_->reached("flush");
    flush_tree(folder_);
    store_->reached("manifest");
    write(manifest_name, make_manifest(folder_, step_));
    store_->reached("flush manifest");
    flush_to_disk(folder_ / manifest_name);
    flush_to_disk(folder_);
    store_->reached("rename");
    swap_folder(folder_, target);
    store_->reached("flush rename");
    flush_to_disk(store_->folder_);
  } catch (const fs::filesystem_error& error) {
    throw storage_error(std::string{"checkpoint of step "} + std::to_string(step_) + ": " + error.what());
  }
  store_->prune();
  std::error_code ignored;
  fs::remove_all(folder_, ignored); // the replaced one, if the step was there before
  folder_.clear();
  return target;
}

checkpoint_store::checkpoint_store(fs::path folder, int keep, crash_point on_crash_point)
    : folder_{std::move(folder)}, keep_{std::max(keep, 1)}, on_crash_point_{std::move(on_crash_point)} {
  try {
    fs::create_directories(folder_);
    for (const auto& entry : fs::directory_iterator(folder_)) {
      const auto name = entry.path().filename().string();
      if (name.starts_with(partial) || name.starts_with(discarded))
        fs::remove_all(entry.path());
    }
  } catch (const fs::filesystem_error& error) {
    throw storage_error(std::string{"checkpoints: "} + error.what());
  }
}

checkpoint_attempt checkpoint_store::begin(std::int64_t step) const {
  auto path = folder_ / (std::string{partial} + step_name(step));
  std::error_code error;
  fs::remove_all(path, error);
  if (!fs::create_directory(path, error) || error)
    throw storage_error("cannot make " + path.string() + ": " + error.message());
  return {*this, step, std::move(path)};
}

void checkpoint_store::reached(std::string_view point) const {
  if (on_crash_point_)
    on_crash_point_(point);
}

/// Removes what is older than the `keep_` newest that verify. A folder is renamed before it is emptied, so that half a
/// checkpoint never carries a checkpoint's name.
void checkpoint_store::prune() const {
  auto steps = checkpoint_steps(folder_);
  std::reverse(steps.begin(), steps.end());
  int valid = 0;
  for (const auto step : steps) {
    const auto path = folder_ / step_name(step);
    if (valid < keep_) {
      valid += checkpoint_damage(path, depth::sizes) ? 0 : 1;
      continue;
    }
    const auto aside = folder_ / (std::string{discarded} + step_name(step));
    std::error_code ignored;
    reached("discard");
    fs::rename(path, aside, ignored);
    reached("remove");
    fs::remove_all(aside, ignored);
  }
}

std::vector<std::int64_t> checkpoint_steps(const fs::path& folder) {
  std::vector<std::int64_t> steps;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (const auto step = step_of(entry.path().filename().string()))
      steps.push_back(*step);
  std::sort(steps.begin(), steps.end());
  return steps;
}

std::optional<stored_checkpoint>
latest_checkpoint(const fs::path& folder, const std::function<void(const std::string&)>& warn, std::int64_t before) {
  auto steps = checkpoint_steps(folder);
  std::reverse(steps.begin(), steps.end());
  for (const auto step : steps) {
    if (step >= before)
      continue;
    const auto path = folder / step_name(step);
    const auto damage = checkpoint_damage(path, depth::contents);
    if (!damage)
      return stored_checkpoint{step, path};
    if (warn)
      warn("checkpoint " + path.string() + " is damaged and left out: " + *damage);
  }
  return std::nullopt;
}

std::string checkpoint_failure(const fs::path& checkpoints, std::int64_t step, std::string_view why) {
  std::string line = "checkpoint of step " + std::to_string(step) + " was not written: " + std::string{why};
  std::error_code error;
  if (const auto space = fs::space(checkpoints, error); !error)
    line += "; " + in_bytes(space.available) + " free in " + checkpoints.string();
  const auto steps = checkpoint_steps(checkpoints);
  if (steps.empty())
    return line + "; there is no earlier one";
  return line + "; that of step " + std::to_string(steps.back()) + " is kept";
}

} // namespace millrace::run_files
