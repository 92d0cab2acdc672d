#pragma once

#include "runtime/pipeline/limits.hpp"
#include "runtime/pipeline/vocabulary.hpp"

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
  bool alone = true; ///< follows from the pipeline: it adds `reward` as well

  bool operator==(const reward_model_table&) const = default;

  std::vector<std::string> reads(const vocabulary&) const { return {"prompt", "tokens", "text"}; }
  std::vector<std::string> adds() const {
    std::vector<std::string> columns{"reward." + name};
    if (alone)
      columns.push_back("reward");
    return columns;
  }

  template <class Self, class Visitor> static void visit(Self& s, Visitor& v) {
    v("model", s.model, needed(), "the [models.*] table that it scores with: a sequence-classification model of one label");
    v("name", s.name, any(), "of its column reward.<name>; default: the role's name");
    v("mean", s.mean, between(-1e9, 1e9), "taken off each score");
    v("deviation", s.deviation, above(0, 1e9), "divides each score after that");
    v("clip", s.clip, between(0, 1e9), "largest reward either way, after that; 0 = not clipped");
    v("tokens_at_once", s.tokens_at_once, between(16, 1 << 24), "tokens scored in one pass");
  }
};

} // namespace millrace::pipeline
