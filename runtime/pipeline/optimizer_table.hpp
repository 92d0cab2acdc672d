#pragma once

#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/words/limits.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace millrace::pipeline {

/// One entry of `groups = [...]` of an optimizer: parameters with numbers of their own.
struct parameter_group_table {
  std::string match;
  std::optional<double> lr;
  std::optional<double> weight_decay;

  bool operator==(const parameter_group_table&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("match", s.match, needed(),
      "regular expression found in the parameter's Hugging Face name; the first group that matches holds");
    v("lr", s.lr, between(0, 1), "learning rate after the warm-up; 0 = frozen; default: the optimizer's");
    v("weight_decay", s.weight_decay, between(0, 10), "decoupled weight decay, times lr; default: the optimizer's");
  }
};

/// `optimizer = { ... }` of a role that trains.
struct optimizer_table {
  std::string name = "adamw";
  double lr = 1e-6;
  std::array<double, 2> betas{0.9, 0.999};
  double eps = 1e-8;
  double weight_decay = 0;
  bool decay_norms = false;
  std::int64_t warmup_steps = 0;
  std::string decay = "constant";
  double stable_share = 0.8;
  std::string wsd_form = "linear";
  double final_lr_fraction = 0;
  double clip_norm = 1;
  std::vector<parameter_group_table> groups = {};

  bool operator==(const optimizer_table&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("name", s.name, one_of(v.words().optimizers), "which optimizer");
    v("lr", s.lr, above(0, 1), "learning rate after the warm-up");
    v("betas", s.betas, between(0, 0.999999), "decay of the two moments");
    v("eps", s.eps, above(0, 1), "added to the square root of the second moment");
    v("weight_decay", s.weight_decay, between(0, 10), "decoupled weight decay, times lr");
    v("decay_norms", s.decay_norms, any(),
      "weight decay on norms and biases too, as verl; else not, as TRL and OpenRLHF");
    v("warmup_steps", s.warmup_steps, between(0, 1e9),
      "steps of linear growth from 0 to lr; all updates of a step have its learning rate");
    v("decay", s.decay, one_of({"constant", "linear", "cosine", "wsd"}),
      "course of the learning rate after the warm-up, until the last step; wsd = warm-up, stable, decay");
    v("stable_share", s.stable_share, between(0, 1), "share of the steps after the warm-up that keep lr (wsd)");
    v("wsd_form", s.wsd_form, one_of({"linear", "cosine", "sqrt"}),
      "how wsd decays at the end; sqrt = 1 - sqrt(share of the decay passed)");
    v("final_lr_fraction", s.final_lr_fraction, between(0, 1),
      "share of lr left at the last step (linear, cosine, wsd)");
    v("clip_norm", s.clip_norm, between(0, 1e6), "largest L2 norm of the gradient; 0 = not clipped");
    v("groups", s.groups, any(), "parameters with a learning rate or weight decay of their own");
  }
};

} // namespace millrace::pipeline
