#include "runtime/watch/run_reader.hpp"

#include "runtime/formats/quoted.hpp"
#include "runtime/run_files/run_folder.hpp"
#include "runtime/run_files/storage.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string_view>

namespace millrace::watch {
namespace {

namespace fs = std::filesystem;
namespace metric = millrace::metric;

/// Whether the page draws this figure. The others stand in /metrics.
bool is_drawn(const std::string& name) {
  static const std::array<std::string_view, 13> drawn{
      metric::reward,      metric::reward_std,    metric::loss,           metric::entropy,        metric::kl,
      metric::policy_kl,   metric::length_mean,   metric::length_max,     metric::staleness_mean, metric::staleness_max,
      metric::mismatch_kl, metric::time_per_step, metric::generation_rate};
  return std::find(drawn.begin(), drawn.end(), name) != drawn.end() || name.starts_with("rewards/")
         || name.find('@') != std::string::npos;
}

/// A line of log.txt that tells of something that went wrong: "    12.345 warning learner      ...".
bool is_failure(std::string_view line) {
  const auto level = line.substr(std::min<std::size_t>(11, line.size()));
  return level.starts_with("warning") || level.starts_with("error");
}

/// The newest `most` stay.
template <class T>
void put_first(std::deque<T>& kept, T item, std::size_t most) {
  kept.push_front(std::move(item));
  if (kept.size() > most)
    kept.pop_back();
}

/// Nothing if there is no such file.
std::optional<file_version> version_of(const fs::path& path) {
  std::error_code untimed, unsized;
  const auto time = fs::last_write_time(path, untimed);
  const auto bytes = fs::file_size(path, unsized);
  return untimed || unsized ? std::nullopt : std::optional(file_version(time, bytes));
}

bool equal(const std::optional<telemetry::run_status>& a, const std::optional<telemetry::run_status>& b) {
  return a.has_value() == b.has_value() && (!a || telemetry::to_json(*a) == telemetry::to_json(*b));
}

} // namespace

double staleness_histogram::count() const {
  return std::accumulate(tokens.begin(), tokens.end(), 0.0);
}

void run_reader::poll() {
  const auto folder = folder_();
  if (folder.empty())
    return;
  if (folder != view_.folder)
    begin(folder);
  poll_pipeline();
  poll_status();
  poll_metrics();
  poll_groups();
  poll_marked();
  poll_failures();
}

void run_reader::begin(const fs::path& folder) {
  view_ = {.folder = folder,
           .status_changes = view_.status_changes + 1,
           .metric_changes = view_.metric_changes + 1,
           .group_changes = view_.group_changes + 1,
           .failure_changes = view_.failure_changes + 1};
  metrics_ = line_follower(folder / "metrics.jsonl");
  log_ = line_follower(folder / "log.txt");
  session_ = 0;
  pipeline_seen_ = marked_seen_ = {};
}

/// A resume may change it.
void run_reader::poll_pipeline() {
  const auto path = view_.folder / "resolved.toml";
  const auto now = version_of(path);
  if (!now || now == pipeline_seen_)
    return;
  pipeline_seen_ = *now;
  try {
    view_.pipeline = std::make_shared<const pipeline::pipeline>(pipeline::read_pipeline(path));
  } catch (const std::exception&) { // a model or a data file was moved away since
    view_.pipeline = nullptr;
  }
  ++view_.status_changes;
}

void run_reader::poll_status() {
  auto now = telemetry::read_status(view_.folder / "status.json");
  if (!now || equal(now, view_.status))
    return;
  view_.status = std::move(now);
  ++view_.status_changes;
}

void run_reader::poll_metrics() {
  const auto [anew, lines] = metrics_.more();
  if (anew) {
    view_.curves.clear();
    view_.staleness = {};
    view_.last_row = {};
  }
  for (const auto& line : lines)
    if (const auto row = telemetry::parse_metric_row(line))
      take(*row);
  if (anew || !lines.empty())
    ++view_.metric_changes;
}

void run_reader::take(const telemetry::metric_row& row) {
  for (const auto& [name, value] : row.values)
    if (is_drawn(name))
      view_.curves[name].add(static_cast<double>(row.step), value);
  if (!row.get(metric::version)) // an evaluation
    return;
  view_.last_row = row;
  double tokens = 0;
  for (std::size_t i = 0; i < metric::ages.size(); ++i)
    if (const auto of_age = row.get(metric::of_age(metric::ages[i], "tokens")); of_age && std::isfinite(*of_age)) {
      view_.staleness.tokens[i] += *of_age;
      tokens += *of_age;
    }
  if (const auto mean = row.get(metric::staleness_mean); mean && std::isfinite(*mean))
    view_.staleness.sum += *mean * tokens;
}

void run_reader::poll_groups() {
  std::error_code gone;
  for (; fs::exists(run_files::trajectories_of(view_.folder, session_ + 1), gone); ++session_)
    trajectories_ = telemetry::trajectory_follower(run_files::trajectories_of(view_.folder, session_ + 1));
  if (session_ == 0)
    return;
  try {
    trajectories_.for_each_new_frame([&](std::string_view rows) {
      for (auto end = rows.find('\n'); end != std::string_view::npos; end = rows.find('\n')) {
        if (end <= longest_row)
          put_first(view_.groups, std::string(rows.substr(0, end)), shown_groups);
        rows.remove_prefix(end + 1);
        ++view_.group_changes;
      }
    });
  } catch (const run_files::storage_error&) {
    // unreadable now: the next poll tries again
  }
}

/// The file is replaced as a whole.
void run_reader::poll_marked() {
  constexpr std::size_t most = 4 << 20; // bytes of the file, more than a run writes
  const auto path = run_files::newest_groups_of(view_.folder);
  const auto now = version_of(path);
  if (!now || now == marked_seen_)
    return;
  try {
    const auto rows = run_files::read_file(path, most);
    marked_seen_ = *now;
    view_.marked.clear();
    for (std::size_t at = 0, end = rows.find('\n'); end != std::string::npos; at = end + 1, end = rows.find('\n', at))
      view_.marked.push_back(rows.substr(at, end - at));
    ++view_.group_changes;
  } catch (const run_files::storage_error&) {
    // unreadable now: the next poll tries again
  }
}

void run_reader::poll_failures() {
  const auto [anew, lines] = log_.more();
  for (const auto& line : lines)
    if (is_failure(line)) {
      put_first(view_.failures, formats::printable(line, 2000), shown_failures);
      ++view_.failure_changes;
    }
}

} // namespace millrace::watch
