#include "runtime/report/html_report.hpp"
#include "runtime/report/recorded_costs.hpp"
#include "runtime/report/run_figures.hpp"
#include "runtime/run_files/checkpoint_store.hpp"
#include "runtime/run_files/manifest.hpp"
#include "runtime/run_files/step_lines.hpp"
#include "runtime/schedule/workload.hpp"
#include "runtime/supervision/step_figures.hpp"
#include "runtime/telemetry/best_checkpoint.hpp"
#include "runtime/telemetry/run_status.hpp"
#include "runtime/telemetry/tensorboard.hpp"
#include "runtime/train/step_record.hpp"
#include "runtime/train/step_report.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/fuzz/readers.hpp"
#include "tests/runtime/report/recorded_example.hpp"

#include <zstd.h>

namespace millrace::fuzz {
namespace {

namespace fs = std::filesystem;
using tests::read_file;
using tests::write_file;

/// Steps whose costs can be told apart: what decoding takes by the slots in use, what training takes by the tokens.
void write_costs(const fs::path& folder) {
  namespace t = telemetry;
  fs::create_directories(folder);
  write_file(folder / "resolved.toml", "[run]\nname = \"costs\"\n");
  t::metrics_file metrics(folder / "metrics.jsonl", 0);
  t::trace_file trace(folder / "trace.json", 0);
  t::trajectory_file told(folder / "trajectories-1.jsonl.zst", 1);
  t::trace_batch batch;
  double now = 0;
  for (std::int64_t step = 1; step <= 6; ++step) {
    for (const double occupied : {2.0 + static_cast<double>(step % 3), 6.0}) {
      const double took = 40 * (0.002 + 0.0005 * occupied);
      batch.spans.push_back({"rollout/0", "decode", "compute", now, took, {{"tokens", 40 * occupied}, {"steps", 40}}});
      now += took;
    }
    const std::int64_t tokens = 20 + 70 * (step % 4);
    t::trajectory row{.group = static_cast<std::uint64_t>(step), .step = step, .prompt = "a?", .answers = {}};
    row.answers = {{"b", tokens, 1, {}, "stop", 0, 0}, {"c", 30, 0, {}, "stop", 0, 0}};
    told.append(row);
    batch.spans.push_back(
        {"learner/0", "train step " + std::to_string(step), "compute", now, 0.001 * (30.0 + tokens), {}});
    batch.counters.push_back({"groups", "waiting for columns", now, 1});
    now += 0.2;
    t::metric_row figures;
    figures.step = step;
    figures.set(t::metric::reward, 0.5);
    figures.set(t::metric::tokens, 30.0 * step + tokens);
    metrics.append(figures);
  }
  told.flush();
  trace.add(batch, 7, "run", 0);
}

/// A run's folder of which one file is mutated, read as `report` and `status` read it.
reader of_report(const fs::path& scratch, const std::string& file) {
  const auto folder = scratch / ("run " + file);
  tests::write_example_run(folder);
  return {.name = file + " of a run",
          .whole = {read_file(folder / file)},
          .read =
              [folder, file](const auto& bytes) {
                write_file(folder / file, bytes);
                const auto run = report::read_recorded_run(folder);
                report::html_report(std::span(&run, 1));
                report::key_figures(run);
                telemetry::in_words(run.status, folder, telemetry::run_process::alive, 1e9);
              },
          .refuses = file == "trace.json"};
}

/// The same as `plan --trace` reads it.
reader of_costs(const fs::path& scratch, const std::string& file) {
  const auto folder = scratch / ("costs " + file);
  write_costs(folder);
  return {.name = file + " of a run's costs",
          .whole = {read_file(folder / file)},
          .read = [folder, file](const auto& bytes) {
            write_file(folder / file, bytes);
            report::costs_of(report::read_recorded_run(folder), {});
          }};
}

/// What a resume does with the lines of a run: reads them, and cuts off those of later steps.
reader of_lines(const fs::path& scratch) {
  const auto path = scratch / "lines.jsonl";
  return {
      .name = "lines of a run that goes on",
      .whole = {"{\"step\":1,\"part\":0}\n{\"step\":2,\"part\":0,\"a\":[1]}\n{\"step\":2,\"part\":1}\n{\"step\":3}\n"},
      .read =
          [path](const std::string& bytes) {
            write_file(path, bytes);
            run_files::step_lines(path, 1, 1);
            run_files::read_step_lines(path);
          },
      .refuses = false};
}

/// Rows that were packed well, whatever they say: what is damaged in its frame is not read at all.
reader of_rows(const fs::path& scratch) {
  const auto folder = scratch / "run of rows";
  tests::write_example_run(folder);
  return {.name = "rows of trajectories",
          .whole = {telemetry::read_trajectories(folder / "trajectories-1.jsonl.zst")},
          .read = [folder](const std::string& bytes) {
            std::string frame(ZSTD_compressBound(bytes.size()), '\0');
            frame.resize(ZSTD_compress(frame.data(), frame.size(), bytes.data(), bytes.size(), 1));
            write_file(folder / "trajectories-1.jsonl.zst", frame);
            telemetry::forget_trajectories_after(folder, 9, 0);
            const auto run = report::read_recorded_run(folder);
            report::html_report(std::span(&run, 1));
          }};
}

reader of_trajectories(const fs::path& scratch) {
  const auto folder = scratch / "trajectories that go on", run = scratch / "run of trajectories";
  fs::create_directories(folder);
  tests::write_example_run(run);
  return {.name = "trajectories of a run that goes on",
          .whole = {read_file(run / "trajectories-1.jsonl.zst")},
          .read =
              [folder](const std::string& bytes) {
                write_file(folder / "trajectories-1.jsonl.zst", bytes);
                telemetry::forget_trajectories_after(folder, 4, 0);
              },
          .refuses = false};
}

reader of_events(const fs::path& scratch) {
  const auto folder = scratch / "events";
  fs::create_directories(folder);
  {
    telemetry::event_file file(folder, 1, 0, 7);
    telemetry::metric_row row;
    for (row.step = 1; row.step < 4; ++row.step) {
      row.set("loss", 0.5);
      file.append(row);
    }
  }
  const auto path = fs::directory_iterator(folder)->path();
  const std::string whole = read_file(path);
  return {.name = "events of TensorBoard",
          .whole = {whole},
          .read =
              [folder, path](const std::string& bytes) {
                for (const auto& left : fs::directory_iterator(folder))
                  fs::remove(left);
                write_file(path, bytes);
                telemetry::event_file(folder, 2, 2, 8);
              },
          .refuses = false};
}

reader of_manifest(const fs::path& scratch) {
  const auto folder = scratch / "step-7";
  fs::create_directories(folder / "model");
  write_file(folder / "version", "7");
  write_file(folder / "model/config.json", "{}");
  return {.name = "manifest of a checkpoint",
          .whole = {run_files::make_manifest(folder, 7)},
          .read = [folder](const std::string& bytes) {
            write_file(folder / run_files::manifest_name, bytes);
            if (const auto damage = run_files::checkpoint_damage(folder, run_files::depth::contents))
              throw input_error(*damage);
          }};
}

reader of_best(const fs::path& scratch) {
  const auto checkpoints = scratch / "checkpoints";
  fs::create_directories(checkpoints / "best");
  return {.name = "best.json",
          .whole = {R"({"metric":"reward/mean","step":3,"value":0.5})"},
          .read =
              [checkpoints](const std::string& bytes) {
                write_file(checkpoints / "best/best.json", bytes);
                telemetry::best_checkpoint(checkpoints, "reward/mean", true);
              },
          .refuses = false};
}

std::string step_of_replay() {
  train::step_record step{.step = 3, .version = 2, .threads = 4, .groups = {}, .part = 1};
  train::lineage group;
  group.group = 9;
  group.answers = {{{1, 5, false}, {2, 3, true}}, {{2, 8, false}}};
  group.by = "rollout";
  group.origins["value"] = {2, 4};
  step.groups.push_back(group);
  return train::to_json(step);
}

} // namespace

readers run_readers(const fs::path& scratch) {
  return {of_report(scratch, "status.json"),
          of_report(scratch, "metrics.jsonl"),
          of_report(scratch, "trace.json"),
          of_report(scratch, "trajectories-1.jsonl.zst"),
          of_costs(scratch, "trace.json"),
          of_costs(scratch, "metrics.jsonl"),
          of_lines(scratch),
          of_rows(scratch),
          of_trajectories(scratch),
          of_events(scratch),
          of_manifest(scratch),
          of_best(scratch),
          {.name = "step of replay",
           .whole = {step_of_replay()},
           .read = [](const auto& bytes) { train::to_json(train::step_record_from(bytes)); }},
          {.name = "report of a step",
           .whole = {train::to_json(train::step_report{})},
           .read = [](const auto& bytes) { train::to_json(train::step_report_from(bytes)); }},
          {.name = "figures of a step",
           .whole = {R"({"masked":5,"sums":{"reward.sums":[1.5,2]}})"},
           .read = [](const auto& bytes) { supervision::step_figures(bytes).saved(); }}};
}

} // namespace millrace::fuzz
