#pragma once

#include "runtime/words/limits.hpp"

#include <cstdint>
#include <filesystem>
#include <string>

namespace millrace::pipeline {

/// `lora = { ... }` of a policy: adapters are trained, the model's own weights stay as they are.
struct lora_table {
  std::int64_t rank = 8;
  double alpha = 16;
  std::string targets = "_proj$";
  std::filesystem::path start;
  bool merged = true;

  bool operator==(const lora_table&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("rank", s.rank, between(1, 4096), "rank of the adapters");
    v("alpha", s.alpha, above(0, 1e6), "an adapter's product is scaled by alpha / rank");
    v("targets", s.targets, any(),
      "regular expression found in the names of the linear layers that get one, e.g. (q|v)_proj$; default: all of "
      "every block");
    v("start", s.start, any(),
      "a folder as PEFT writes it, to begin from; its own rank, alpha and layers hold; empty = new adapters");
    v("merged", s.merged, any(),
      "checkpoints hold the whole model, merged, beside the adapters; false = the adapters alone");
  }
};

} // namespace millrace::pipeline
