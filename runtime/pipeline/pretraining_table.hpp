#pragma once

#include "runtime/words/limits.hpp"

#include <cstdint>
#include <filesystem>

namespace millrace::pipeline {

/// `pretraining = { ... }` of a policy: each update also lowers the loss of plain text, so that the model does not
/// forget.
struct pretraining_table {
  std::filesystem::path file;
  double coefficient = 27.8;
  std::int64_t rows_per_step = 0;
  std::int64_t max_tokens = 512;

  bool operator==(const pretraining_table&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("file", s.file, needed(), "JSONL with a \"text\" a row; relative to the pipeline file's folder");
    v("coefficient", s.coefficient, above(0, 1e6),
      "weight of the mean loss over the text's tokens (27.8 in InstructGPT and DeepSpeed-Chat)");
    v("rows_per_step", s.rows_per_step, needed(between(1, 1e6)),
      "rows of each step, in the file's order, round and round");
    v("max_tokens", s.max_tokens, between(2, 1 << 20), "tokens used of a row, its first");
  }
};

} // namespace millrace::pipeline
