#include "runtime/report/recorded_run.hpp"

#include "runtime/formats/quoted.hpp"
#include "runtime/formats/strict_json.hpp"
#include "runtime/formats/text_lines.hpp"
#include "runtime/report/run_differences.hpp"
#include "runtime/run_files/run_folder.hpp"
#include "runtime/telemetry/trajectories.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <sstream>
#include <string_view>
#include <utility>

namespace millrace::report {
namespace {

constexpr double microsecond = 1e-6;

/// Calls `each` with the JSON object of one line. @returns whether it is one
/// @param where names the line in errors
template <class Each>
bool take_object(const std::string& line, const std::string& where, Each each) {
  const auto object = formats::json_or_discarded(line);
  if (!object.is_object())
    return false;
  try {
    each(object);
  } catch (const nlohmann::json::exception& error) {
    throw input_error(where + ":1: " + error.what());
  }
  return true;
}

[[noreturn]] void refuse_line(const std::string& where) {
  throw input_error(where + ":1: not a JSON object, want one a line");
}

/// A span's name as it is today: traces of earlier programs say `stage version` where weights were laid out.
std::string name_today(std::string name) {
  constexpr std::string_view before = "stage version ";
  return name.starts_with(before) ? "layout of version " + name.substr(before.size()) : name;
}

/// Adds one session's trace, later by `offset_s`. @returns its last moment
double add_trace(recorded_run& run, const std::filesystem::path& path, double offset_s) {
  std::map<std::pair<std::int64_t, std::int64_t>, std::string> tracks;
  double end_s = offset_s;
  const auto take = [&](const nlohmann::json& event) {
    const auto key = std::pair(event.value("pid", std::int64_t{0}), event.value("tid", std::int64_t{0}));
    const std::string phase = event.at("ph");
    if (phase == "M" && event.at("name") == "thread_name") {
      tracks[key] = event.at("args").at("name");
    } else if (phase == "X") {
      telemetry::span s;
      s.track = tracks[key];
      s.name = name_today(event.at("name"));
      s.category = event.value("cat", "");
      s.start_s = offset_s + event.at("ts").get<double>() * microsecond;
      s.duration_s = event.at("dur").get<double>() * microsecond;
      if (const auto args = event.find("args"); args != event.end())
        for (const auto& [name, value] : args->items())
          if (value.is_number())
            s.args.emplace_back(name, value.get<double>());
      end_s = std::max(end_s, s.start_s + s.duration_s);
      run.spans.push_back(std::move(s));
    } else if (phase == "C") {
      const std::string whole = event.at("name"); // "track name"
      for (const auto& [name, value] : event.at("args").items())
        if (value.is_number() && whole.size() > name.size())
          run.counters.push_back({whole.substr(0, whole.size() - name.size() - 1), name,
                                  offset_s + event.at("ts").get<double>() * microsecond, value.get<double>()});
    }
  };
  formats::text_lines lines(path, "a trace");
  for (std::string line; lines.next(line);) {
    while (!line.empty() && (line.back() == ',' || line.back() == '\r' || line.back() == ' '))
      line.pop_back();
    if (line.empty() || line == "[" || line == "]" || take_object(line, lines.where(), take))
      continue;
    if (lines.torn())
      break; // by a crash
    refuse_line(lines.where());
  }
  return end_s;
}

/// What is counted in a run: a file that says more is damaged, and sums of such counts do not overflow.
std::int64_t count_in(const nlohmann::json& value, const std::filesystem::path& path) {
  const auto count = value.get<double>();
  if (!(count >= 0 && count <= 0x1p40))
    throw input_error(path.string() + ": found " + formats::printable(value.dump()) + ", want a count");
  return value.get<std::int64_t>();
}

/// NaN where the answer has none.
double reward_in(const nlohmann::json& answer) {
  const auto& reward = answer.at("reward");
  return reward.is_number() ? reward.get<double>() : std::numeric_limits<double>::quiet_NaN();
}

/// Keeps the first group of the first step that is seen, and the first of the last.
void keep_sample(recorded_run& run, const nlohmann::json& row) {
  const auto step = row.at("step").get<std::int64_t>();
  if (!run.samples.empty() && run.samples.back().step == step)
    return;
  sampled_group group{
      .step = step, .prompt = row.value("prompt", ""), .ground_truth = row.value("ground_truth", ""), .answers = {}};
  for (const auto& a : row.at("answers"))
    group.answers.push_back(
        {.text = a.value("episode", a.value("text", "")), .reward = reward_in(a), .finish = a.value("finish", "")});
  if (run.samples.size() == 2)
    run.samples.pop_back();
  run.samples.push_back(std::move(group));
}

void add_trajectories(recorded_run& run, const std::filesystem::path& path) {
  const auto take = [&](const nlohmann::json& row) {
    keep_sample(run, row);
    for (const auto& a : row.at("answers")) {
      const auto& versions = a.at("versions");
      run.answers.push_back({row.value("group", std::uint64_t{0}), count_in(row.at("step"), path),
                             count_in(a.at("tokens"), path), reward_in(a), versions.at(0).get<std::uint32_t>(),
                             versions.at(1).get<std::uint32_t>()});
    }
  };
  std::int64_t number = 0;
  telemetry::for_each_frame(path, [&](const std::string& rows) {
    std::istringstream lines(rows);
    for (std::string line; std::getline(lines, line);)
      if (const auto where = path.string() + ':' + std::to_string(++number); !take_object(line, where, take))
        refuse_line(where);
  });
}

/// What only a process can be. A run that was killed left such a word.
constexpr std::array<std::string_view, 3> states_of_a_process{"starting", "running", "stopping"};

} // namespace

std::int64_t trained_answer::staleness() const {
  return std::max<std::int64_t>(step - 1 - static_cast<std::int64_t>(version_min), 0);
}

recorded_run read_recorded_run(const std::filesystem::path& folder) {
  const bool runs = run_files::holder_of_run(folder).has_value(); // throws where it is no run
  recorded_run run;
  run.folder = folder;
  run.label =
      formats::printable(std::filesystem::absolute(folder / ".").lexically_normal().parent_path().filename().string());
  run.status = telemetry::read_status(folder / "status.json").value_or(telemetry::run_status{});
  if (!runs && std::ranges::find(states_of_a_process, run.status.state) != states_of_a_process.end())
    run.status.state = "not running";
  run.settings = settings_in(run_files::read_file(folder / "resolved.toml"));
  for (auto& row : telemetry::read_metrics(folder / "metrics.jsonl"))
    (row.get(telemetry::metric::reward) ? run.metrics : run.evaluations).push_back(std::move(row));
  for (int session = 1;; ++session) {
    const auto trace = run_files::trace_of(folder, session);
    const auto trajectories = run_files::trajectories_of(folder, session);
    const bool traced = std::filesystem::exists(trace), told = std::filesystem::exists(trajectories);
    if (!traced && !told)
      break;
    run.session_starts.push_back(run.end_s);
    if (traced)
      run.end_s = add_trace(run, trace, run.end_s);
    if (told)
      add_trajectories(run, trajectories);
  }
  return run;
}

} // namespace millrace::report
