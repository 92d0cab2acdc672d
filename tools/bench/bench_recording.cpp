// What writing a run down costs: everything that a recorded run wrote is written again by the run's own writers (spans
// and counters through the process's tracer into trace.json, metrics, TensorBoard events, trajectories, records, a
// status a second), and every wait is opened and closed. Prints processor time by kind, in microseconds a step, and its
// share of the run's mean step.
//
//     bench_recording RUN
#include "runtime/report/recorded_run.hpp"
#include "runtime/run_files/run_folder.hpp"
#include "runtime/run_files/storage.hpp"
#include "runtime/telemetry/tensorboard.hpp"
#include "runtime/telemetry/trace_file.hpp"
#include "runtime/telemetry/trajectories.hpp"
#include "runtime/telemetry/waits.hpp"
#include "runtime/train/step_record.hpp"

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <cstdio>
#include <ctime>
#include <exception>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

using namespace millrace;

namespace {

double processor_s() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct cost {
  std::string what;
  double seconds = 0;
};

template <class Work>
cost of(const char* what, Work work) {
  const double begin = processor_s();
  work();
  return {what, processor_s() - begin};
}

std::vector<telemetry::trajectory> trajectories_of(const std::filesystem::path& folder) {
  std::vector<telemetry::trajectory> rows;
  std::istringstream lines(telemetry::read_trajectories(run_files::trajectories_of(folder, 1)));
  for (std::string line; std::getline(lines, line);) {
    const auto row = nlohmann::json::parse(line);
    auto& one = rows.emplace_back();
    one.group = row.at("group");
    one.step = row.at("step");
    one.prompt = row.at("prompt");
    for (const auto& answer : row.at("answers"))
      one.answers.push_back({answer.at("text"),
                             answer.at("tokens"),
                             answer.at("reward").is_number() ? answer.at("reward").get<double>() : 0,
                             {},
                             answer.at("finish"),
                             answer.at("versions").at(0),
                             answer.at("versions").at(1)});
  }
  return rows;
}

/// Writes everything again that the run wrote, one kind of record after another.
std::vector<cost> costs_of(const report::recorded_run& run, const std::vector<telemetry::metric_row>& rows,
                           const std::vector<telemetry::trajectory>& told,
                           const std::vector<train::step_record>& records) {
  const auto out = std::filesystem::temp_directory_path() / ("bench_recording-" + std::to_string(getpid()));
  std::filesystem::create_directories(out);
  std::vector<cost> costs;
  telemetry::trace_batch batch;
  costs.push_back(of("spans and counters", [&] {
    for (const auto& span : run.spans)
      telemetry::process_trace().record(span);
    for (const auto& counter : run.counters)
      telemetry::process_trace().record(counter);
    batch = telemetry::process_trace().take();
  }));
  costs.push_back(of("trace.json", [&] {
    telemetry::trace_file trace(out / "trace.json", 0);
    trace.add(batch, 1, "run", 0);
  }));
  costs.push_back(of("waits", [&] {
    for (const auto& span : run.spans)
      telemetry::waiting(telemetry::process_waits(), {.who = span.track,
                                                      .what = span.name,
                                                      .on = {span.track},
                                                      .since_s = span.start_s,
                                                      .deadline_s = 60,
                                                      .group = {}});
  }));
  costs.push_back(of("metrics.jsonl", [&] {
    telemetry::metrics_file metrics(out / "metrics.jsonl", 0);
    for (const auto& row : rows)
      metrics.append(row);
  }));
  costs.push_back(of("TensorBoard events", [&] {
    telemetry::event_file events(out, 1, 0, 0);
    for (const auto& row : rows)
      events.append(row);
  }));
  costs.push_back(of("trajectories", [&] {
    telemetry::trajectory_file file(out / "trajectories-1.jsonl.zst", 1);
    std::int64_t step = -1;
    for (const auto& row : told) {
      if (row.step != step && step >= 0)
        file.flush();
      step = row.step;
      file.append(row);
    }
    file.flush();
  }));
  costs.push_back(of("records of steps", [&] {
    run_files::step_lines file(out / "replay.jsonl", 0);
    for (const auto& one : records)
      file.append(train::to_json(one));
  }));
  costs.push_back(of("status, once a second", [&] {
    for (double at = 0; at < run.end_s; at += 1)
      telemetry::write_status(out / "status.json", run.status);
  }));
  std::filesystem::remove_all(out);
  return costs;
}

void measure(const std::filesystem::path& folder) {
  const auto run = report::read_recorded_run(folder);
  const auto rows = telemetry::read_metrics(folder / "metrics.jsonl");
  const auto told = trajectories_of(folder);
  const auto lines = run_files::read_step_lines(folder / "replay.jsonl");
  std::vector<train::step_record> records;
  for (const auto& line : lines)
    records.push_back(train::step_record_from(line));
  if (rows.size() < 2)
    throw std::runtime_error(folder.string() + ": fewer than two steps");
  const auto steps = static_cast<double>(rows.size());
  const double step_s = (rows.back().wall_s - rows.front().wall_s) / (steps - 1);

  const auto costs = costs_of(run, rows, told, records);
  double sum = 0;
  for (const auto& [what, seconds] : costs) {
    std::printf("%-24s %9.1f us a step\n", what.c_str(), 1e6 * seconds / steps);
    sum += seconds;
  }
  std::printf("%-24s %9.1f us a step of %.3f s: %.3f %%\n", "together", 1e6 * sum / steps, step_s,
              100 * sum / steps / step_s);
}

} // namespace

int main(int count, char** arguments) {
  if (count != 2)
    return std::fprintf(stderr, "bench_recording RUN\n"), 2;
  try {
    measure(arguments[1]);
  } catch (const std::exception& error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
  }
  return 0;
}
