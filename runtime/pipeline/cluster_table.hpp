#pragma once

#include "runtime/words/limits.hpp"

#include <cstdint>
#include <vector>

namespace millrace::pipeline {

/// An entry of `decode`: how fast an answer goes on beside so many others.
struct decode_rate {
  std::int64_t occupied = 1;
  double tokens_per_s = 0;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("occupied", s.occupied, needed(between(1, 1 << 20)), "slots of an engine that hold an answer");
    v("tokens_per_s", s.tokens_per_s, needed(above(0, 1e6)), "tokens a second of each of those answers");
  }
};

struct cluster_rollout {
  std::int64_t gpus = 0;
  std::int64_t gpus_per_engine = 1;
  std::vector<decode_rate> decode;
  double prefill_s = 0;
  double resume_tokens_per_s = 0;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("gpus", s.gpus, needed(between(1, 1 << 20)), "GPUs that generate");
    v("gpus_per_engine", s.gpus_per_engine, between(1, 1024),
      "GPUs that one engine spans; slots are the pipeline's, of each engine");
    v("decode", s.decode, needed(),
      "how fast answers are decoded, by how many there are: ascending, in between linear in seconds a step");
    v("prefill_s", s.prefill_s, between(0, 1e6), "an engine decodes nothing for so long when a group begins");
    v("resume_tokens_per_s", s.resume_tokens_per_s, between(0, 1e9),
      "prefill of an answer that goes on after it was cut off; 0 = takes no time");
  }
};

struct cluster_training {
  std::int64_t gpus = 0;
  double tokens_per_s = 0;
  double step_s = 0;
  double exchange_bytes_per_s = 0;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("gpus", s.gpus, needed(between(1, 1 << 20)), "GPUs that train");
    v("tokens_per_s", s.tokens_per_s, needed(above(0, 1e9)), "answer tokens a second that one of them trains");
    v("step_s", s.step_s, between(0, 1e6), "seconds of a step whatever its tokens: optimizer, collectives");
    v("exchange_bytes_per_s", s.exchange_bytes_per_s, between(0, 1e13),
      "bytes a second that a rank receives from the others: gradients, and with shard = full parameters, for each "
      "round "
      "of micro-batches; 0 = step_s and tokens_per_s hold it");
  }
};

struct cluster_publication {
  double copy_s = 0;
  double transfer_s = 0;
  double bytes_per_s = 0;
  double pause_s = 0;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("copy_s", s.copy_s, between(0, 1e6), "training stands still");
    v("transfer_s", s.transfer_s, between(0, 1e6), "from then until engines can take the weights; they go on decoding");
    v("bytes_per_s", s.bytes_per_s, between(0, 1e13),
      "bytes of the weights, in the model's dtype, that come to an engine in a second, besides transfer_s; 0 = "
      "transfer_s "
      "holds it");
    v("pause_s", s.pause_s, between(0, 1e6), "an engine stands still to take them");
  }
};

struct cluster_tools {
  double latency_s = 0;
  double latency_cv = 0;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("latency_s", s.latency_s, between(0, 1e6),
      "mean time from a group's last token until it can be trained: verifiers, tools, rewards");
    v("latency_cv", s.latency_cv, between(0, 100), "standard deviation / mean of the same, log-normal");
  }
};

struct cluster_failures {
  double per_hour = 0;
  double restart_s = 60;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("per_hour", s.per_hour, between(0, 1e6), "engines that die in an hour, of all of them together");
    v("restart_s", s.restart_s, between(0, 1e6), "until such an engine is back");
  }
};

struct cluster_lengths {
  double mean = 0;
  double cv = 0;
  double max = 0;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("mean", s.mean, needed(above(0, 1e9)), "mean tokens of an answer before the cut, log-normal");
    v("cv", s.cv, between(0, 100), "standard deviation / mean of the same");
    v("max", s.max, between(0, 1e9),
      "tokens at which an answer is cut; the rollout's max_new_tokens cuts too; 0 = that alone");
  }
};

/// A file that says what a cluster can do with one model on one kind of task: what `plan --cluster` takes.
struct cluster_table {
  cluster_rollout rollout;
  cluster_training training;
  cluster_publication publication;
  cluster_tools tools;
  cluster_failures failures;
  cluster_lengths lengths;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("rollout", s.rollout, any(), "GPUs that generate");
    v("training", s.training, any(), "GPUs that train");
    v("publication", s.publication, any(), "how weights get from one to the other");
    v("tools", s.tools, any(), "what a group waits for once it is generated");
    v("failures", s.failures, any(), "engines that die");
    v("lengths", s.lengths, any(), "answers");
  }
};

} // namespace millrace::pipeline
