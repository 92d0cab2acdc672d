#pragma once

#include "runtime/pipeline/limits.hpp"
#include "runtime/pipeline/vocabulary.hpp"

#include <string>
#include <vector>

namespace millrace::pipeline {

/// `kind = "reference"`: a frozen model's log-probabilities of the same tokens.
struct reference_table {
  static constexpr std::string_view kind = "reference";
  static constexpr std::string_view summary = "log-probabilities of a frozen model";
  static constexpr bool heavy = true;
  static constexpr bool replicated = true;

  std::string model;

  bool operator==(const reference_table&) const = default;

  std::vector<std::string> reads(const vocabulary&) const { return {"prompt", "tokens"}; }
  std::vector<std::string> adds() const { return {"ref_logprob"}; }

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("model", s.model, needed(), "the [models.*] table that it scores with");
  }
};

} // namespace millrace::pipeline
