#pragma once

#include "runtime/pipeline/planned_abilities.hpp"
#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/words/columns.hpp"
#include "runtime/words/limits.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::pipeline {

/// `kind = "reference"`: another model's log-probabilities of the same tokens. It stays as it began, or follows the
/// policy.
struct reference_table {
  static constexpr std::string_view kind = "reference";
  static constexpr std::string_view summary = "log-probabilities of a frozen model";
  static constexpr bool heavy = true;
  static constexpr bool replicated = true; ///< unless it follows the policy

  std::string model;
  std::int64_t refresh_every = 0;
  double ema = 0;

  bool operator==(const reference_table&) const = default;

  bool follows() const { return refresh_every > 0 || ema > 0; }

  planned_abilities abilities() const { return {.adds_columns = true, .takes_weights = follows()}; }

  std::vector<std::string> reads(const vocabulary&) const {
    return column::names(column::prompt_tokens, column::tokens, column::lengths);
  }

  std::vector<std::string> reads_if_added() const {
    return column::names(column::turns, column::turn_ends, column::turn_new_segment);
  }

  std::vector<std::string> adds() const {
    auto columns = column::names(column::ref_logprob);
    if (follows())
      columns.push_back(column::origin_of(column::ref_logprob.name).name);
    return columns;
  }

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("model", s.model, needed(), "the [models.*] table that it scores with");
    v("refresh_every", s.refresh_every, between(0, 1e9), "steps after which it takes the policy's weights; 0 = never");
    v("ema", s.ema, between(0, 0.999999),
      "share of itself that it keeps at each step, the rest is the policy's weights; 0 = it does not average");
  }
};

} // namespace millrace::pipeline
