#pragma once

#include "runtime/pipeline/planned_abilities.hpp"
#include "runtime/pipeline/scoring_keys.hpp"
#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/words/columns.hpp"
#include "runtime/words/limits.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::pipeline {

/// `kind = "reward_model"`: a sequence-classification model's score of prompt and answer,
/// clip((score - mean) / deviation), as `reward.<name>`; as `reward` too where no other role of the pipeline scores.
struct reward_model_table {
  static constexpr std::string_view kind = "reward_model";
  static constexpr std::string_view summary = "scores answers by a sequence-classification model";
  static constexpr bool heavy = true;
  static constexpr bool replicated = true;

  std::string model;
  std::string name; ///< of the column `reward.<name>`; empty in the file = the role's
  double mean = 0;
  double deviation = 1;
  double clip = 0;
  std::int64_t tokens_at_once = 2048;
  double max_failures = 0.5;
  bool alone = true; ///< follows from the pipeline: it adds `reward` as well

  bool operator==(const reward_model_table&) const = default;

  static constexpr planned_abilities abilities() { return {.adds_columns = true}; }

  /// The tokens, or with a tokenizer of its own the texts.
  std::vector<std::string> reads(const vocabulary&) const {
    return column::names(column::prompt, column::prompt_lengths, column::prompt_tokens, column::tokens, column::lengths,
                         column::text, column::text_lengths);
  }

  std::vector<std::string> reads_if_added() const {
    return column::names(column::turns, column::turn_ends, column::turn_new_segment);
  }

  std::vector<std::string> adds() const {
    const auto own = column::reward_of(name);
    auto columns = column::names(own);
    if (alone)
      columns.emplace_back(column::reward.name);
    columns.push_back(column::origin_of(own.name).name);
    return columns;
  }

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("model", s.model, needed(),
      "the [models.*] table that it scores with: a sequence-classification model of one label");
    v("name", s.name, any(), "of its column reward.<name>; default: the role's name");
    v("mean", s.mean, between(-1e9, 1e9), "taken off each score");
    v("deviation", s.deviation, above(0, 1e9), "divides each score after that");
    v("clip", s.clip, between(0, 1e9), "largest reward either way, after that; 0 = not clipped");
    v("tokens_at_once", s.tokens_at_once, between(16, 1 << 24), "tokens scored in one pass");
    v("max_failures", s.max_failures, between(0, 1), share_of_failures);
  }
};

} // namespace millrace::pipeline
