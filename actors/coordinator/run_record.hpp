#pragma once

#include "actors/coordinator/group_router.hpp"
#include "runtime/columns/column_set.hpp"
#include "runtime/messages/evaluate.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/run_files/growing_file.hpp"
#include "runtime/run_files/run_folder.hpp"
#include "runtime/telemetry/best_checkpoint.hpp"
#include "runtime/telemetry/early_stop.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/telemetry/metrics.hpp"
#include "runtime/telemetry/progress.hpp"
#include "runtime/telemetry/run_status.hpp"
#include "runtime/telemetry/summary.hpp"
#include "runtime/telemetry/tensorboard.hpp"
#include "runtime/telemetry/time_table.hpp"
#include "runtime/telemetry/trace_file.hpp"
#include "runtime/telemetry/trajectories.hpp"
#include "runtime/train/step_record.hpp"
#include "runtime/words/shown_tokens.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace millrace::actors {

/// Everything a run writes down and shows while it goes on: metrics, TensorBoard events, trajectories, trace, status,
/// the live line and the summary. Plain calls; the coordinator makes them in its own context.
class run_record {
public:
  /// @param resumed_step steps that were trained before the resume; later rows of the files are cut off
  /// @param resumed_parts parts of the following step that were trained before the resume
  /// @throws run_files::storage_error
  run_record(const pipeline::pipeline& p, const run_files::run_folder& folder, std::int64_t resumed_step,
             std::int64_t resumed_parts = 0);

  /// A step was trained. @param row figures of the step, without step and time
  void step_done(std::int64_t step, std::map<std::string, double> figures, const schedule::scheduler& scheduler);

  /// A version was evaluated: a row of the metrics of its own, with names `evaluation/<role>/<figure>`.
  void evaluated(const std::string& role, const version_evaluated& what);

  /// Versions that earlier lives of the run evaluated, by role.
  const std::map<std::string, std::vector<telemetry::evaluation_point>>& evaluations() const { return evaluations_; }

  /// A group's answers in words, kept until the group is trained or forgotten.
  void keep(telemetry::trajectory answers);
  /// @param shown of some of the groups, to be written for people who watch
  void trained(std::int64_t step, std::int64_t part, const std::vector<std::uint64_t>& groups,
               std::vector<shown_group> shown = {});
  /// How the groups of a step or of a part of one came to be, in this session.
  void remember(train::step_record record);
  void forget(std::uint64_t group);

  /// What a process reported.
  void add_trace(const telemetry::trace_batch& batch, std::int64_t pid, const std::string& process,
                 double clock_offset_s);

  void skipped(const std::string& reason, std::int64_t count) { skipped_[reason] += count; }

  /// Tokens of a group's prompt: whose keys and values a rollout had, and which it computed.
  void prompt_is_computed(std::int64_t found, std::int64_t computed) {
    prompt_tokens_found_ += found;
    prompt_tokens_computed_ += computed;
  }

  void tools_are_called(std::int64_t calls, std::int64_t malformed) {
    tool_calls_ += calls;
    malformed_calls_ += malformed;
  }

  void histories_are_rewritten(std::int64_t count) { rewritten_histories_ += count; }

  void clients_are_served(std::int64_t tokens) { client_tokens_ += tokens; }

  void checkpointed(std::int64_t step, std::filesystem::path folder);
  void say_doing(const std::string& what);

  /// On the live line alone: for what changes often.
  void show_doing(const std::string& what) { doing_ = what; }

  /// About once a second.
  void write_status(const schedule::scheduler& scheduler, const std::string& state,
                    std::vector<telemetry::role_status> roles, std::vector<telemetry::lane_status> lanes,
                    std::vector<wait_record> waits);

  /// Writes what waits: another session goes on with these files.
  void close();

  /// The end: closes the files, prints the summary.
  void finish(const schedule::scheduler& scheduler, const std::string& outcome);

  /// Why the run is to stop early, by `run.stop_when`; "" = it is not.
  const std::string& stop_reason() const { return stop_reason_; }

  std::optional<std::int64_t> checkpoint_step() const { return checkpoint_step_; }

private:
  void say_starting();
  double elapsed_s() const; ///< of all sessions
  void keep_writing(const std::string& what, const std::function<void()>& write);
  void write_waiting(); ///< what a full disk has refused
  void write_newest();
  run_files::growing_file& answers_of_evaluations();
  void append(const telemetry::metric_row& row);
  void watch(const telemetry::metric_row& row);
  void show_progress(const schedule::scheduler& scheduler);

  std::string name_;
  std::int64_t steps_;
  const run_files::run_folder* folder_;
  telemetry::metrics_file metrics_;
  run_files::step_lines step_records_;
  telemetry::event_file events_;
  telemetry::trajectory_file trajectories_;
  std::optional<run_files::growing_file> evaluation_answers_; ///< made when there is something to write
  std::unique_ptr<telemetry::trace_file> trace_;
  telemetry::time_table times_;
  telemetry::progress_line line_;
  telemetry::time_left left_;
  std::map<std::uint64_t, telemetry::trajectory> kept_;
  std::vector<telemetry::trajectory> newest_; ///< with shown tokens; not written yet
  double newest_written_s_ = 0;
  std::int64_t prompt_tokens_found_ = 0, prompt_tokens_computed_ = 0; ///< in this session
  std::int64_t rewritten_histories_ = 0, client_tokens_ = 0;          ///< in this session
  std::int64_t tool_calls_ = 0, malformed_calls_ = 0;                 ///< in this session
  std::map<std::string, std::int64_t> skipped_;
  telemetry::best_checkpoint best_;
  telemetry::early_stop early_stop_;
  std::string stop_reason_;
  std::vector<double> rewards_;
  std::map<std::string, std::vector<telemetry::evaluation_point>> evaluations_;
  std::set<std::string> refused_; ///< files that the disk does not take at present
  double start_s_;
  double elapsed_before_s_ = 0; ///< of earlier sessions
  double last_step_s_;
  double rate_since_s_;
  std::int64_t rate_since_tokens_ = 0;
  double tokens_per_s_ = 0;
  bool first_rate_ = true; ///< there was no full window yet
  double staleness_ = 0;
  double logprob_gap_;
  std::int64_t step_ = 0;
  std::optional<std::int64_t> checkpoint_step_;
  std::filesystem::path checkpoint_folder_;
  std::string doing_ = "starting";
};

/// The scheduler's books as telemetry shows them.
telemetry::ledger_totals totals_of(const schedule::ledger& books);

/// The columns that a trajectory is made of.
transport::wanted_columns trajectory_columns(std::span<const ticket> columns);

/// One trajectory row out of a group's columns.
telemetry::trajectory trajectory_of(group_id group, const columns::column_set& columns);

} // namespace millrace::actors
