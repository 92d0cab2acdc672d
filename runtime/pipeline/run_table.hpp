#pragma once

#include "runtime/words/limits.hpp"
#include "runtime/words/precision.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

// One struct a table. `visit` says, key by key, what the table may hold: reading, range checks, "did you mean", the
// resolved file and `millrace check --keys` all walk it. A default is the member's initializer.

namespace millrace::pipeline {

/// One entry of `run.stop_when`: either `above` (a limit) or `patience` (no improvement).
struct stop_table {
  std::string metric;
  std::int64_t patience = 0;
  double above = 0;
  std::int64_t over = 1;
  std::string best = "highest";
  double min_change = 0;

  bool operator==(const stop_table&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("metric", s.metric, needed(), "a figure of a step or of an evaluation, as `millrace metrics` lists them");
    v("patience", s.patience, between(0, 1e9),
      "stop when the best value is this many values back; 0 = stop by `above`");
    if (s.patience > 0) {
      v("best", s.best, one_of({"highest", "lowest"}), "with patience: which value is best");
      v("min_change", s.min_change, between(0, 1e9), "with patience: a value is better by more than this");
      v.refuse("above", "patience is the other way to stop: give it an entry of its own");
      v.refuse("over", "patience is the other way to stop: give it an entry of its own");
    } else {
      v("above", s.above, needed(), "stop when the mean of the last `over` values is above this");
      v("over", s.over, between(1, 1e9), "values that the mean is over");
      v.refuse("best", "it goes with patience");
      v.refuse("min_change", "it goes with patience");
    }
  }
};

/// `[run]`: what holds for the whole run.
struct run_table {
  std::string name;
  std::int64_t steps = 0;
  std::int64_t seed = 1;
  std::string device = "auto";
  double stall_after_s = 120;
  std::string on_stall = "report";
  std::int64_t heartbeat_ms = 200;
  std::int64_t peer_timeout_ms = 2000;
  double request_deadline_s = 60;
  double join_deadline_s = 20;
  double trajectories_fraction = 1;
  std::int64_t checkpoint_every = 0;
  double checkpoint_every_s = 600;
  std::int64_t checkpoints_kept = 2;
  std::string keep_best;
  std::string best = "highest";
  std::vector<stop_table> stop_when;
  bool trace = true;
  std::int64_t max_skipped_steps = 5;
  std::string listen;
  std::filesystem::path listen_token_file;

  bool operator==(const run_table&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("name", s.name, needed(), "name of the run: letters, digits, '_', '-' and '.'");
    v("steps", s.steps, needed(between(1, 1e9)), "optimizer steps to train");
    v("seed", s.seed, between(0, 9007199254740992), "seed of everything drawn at random");
    v("device", s.device, one_of({"auto", "cpu", "cuda"}),
      "where models train, generate and score; auto = cuda where there is one");
    v("stall_after_s", s.stall_after_s, above(0, 86400),
      "seconds without progress until the run says who waits for whom");
    v("on_stall", s.on_stall, one_of({"report", "abort"}),
      "what follows: the run goes on and says it again, or ends, to be resumed from its last checkpoint");
    v("heartbeat_ms", s.heartbeat_ms, between(10, 60000), "milliseconds between heartbeats of processes");
    v("peer_timeout_ms", s.peer_timeout_ms, between(20, 600000),
      "milliseconds of silence after which a process counts as dead");
    v("request_deadline_s", s.request_deadline_s, above(0, 86400), "seconds that a request between roles may take");
    v("join_deadline_s", s.join_deadline_s, above(0, 86400),
      "seconds from a process's start until it has joined the run; then it counts as frozen, and is killed");
    v("trajectories_fraction", s.trajectories_fraction, between(0, 1),
      "share of the groups written to the trajectory files");
    v("checkpoint_every", s.checkpoint_every, between(0, 1e9),
      "steps between checkpoints; 0 = those of checkpoint_every_s, and one at the end");
    v("checkpoint_every_s", s.checkpoint_every_s, between(0, 1e9),
      "seconds after which the end of a step brings a checkpoint too; 0 = none for the time");
    v("checkpoints_kept", s.checkpoints_kept, between(1, 1000), "checkpoints kept, the newest ones");
    v("keep_best", s.keep_best, any(),
      "a figure, as `millrace metrics` lists them: the checkpoint at which it stood best is kept as checkpoints/best; "
      "empty = none");
    v("best", s.best, one_of({"highest", "lowest"}), "which value of keep_best is best");
    v("stop_when", s.stop_when, any(), "what ends the run before its last step, with a checkpoint");
    v("trace", s.trace, any(), "write a Chrome/Perfetto trace");
    v("max_skipped_steps", s.max_skipped_steps, between(1, 1e9),
      "steps in a row with a loss or gradient that is not finite, after which the run ends");
    v("listen", s.listen, any(),
      "ADDRESS:PORT of this host at which a browser or Prometheus watches the run; empty = nothing listens");
    v("listen_token_file", s.listen_token_file, any(),
      "file with the bearer token that watchers show; needed where listen is not loopback");
  }
};

/// `[models.NAME]`: weights on disk.
struct model_table {
  std::filesystem::path path;
  std::string chat_template;
  precision dtype = precision::float32;
  std::optional<sampling_precision> rollout_dtype;

  /// What rollouts keep its matrices as.
  sampling_precision sampled_as() const { return rollout_dtype.value_or(millrace::sampled_as(dtype)); }

  bool operator==(const model_table&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("path", s.path, needed(), "a Hugging Face folder or a .gguf file; relative to the pipeline file's folder");
    v("chat_template", s.chat_template, any(), "name of a chat template; empty = the model's own");
    v("dtype", s.dtype, any(),
      "what weights are kept as where they generate or score, and on their way there; those roles compute float32, and "
      "learners as their compute_dtype says");
    v("rollout_dtype", s.rollout_dtype, any(),
      "what rollouts keep matrices as, rounded there from `dtype`; int8 is also multiplied with inputs of 16 bits; "
      "unset = dtype");
  }
};

} // namespace millrace::pipeline
