#pragma once

#include "runtime/words/limits.hpp"

#include <string>

namespace millrace::pipeline {

/// One entry of `rewards = [...]` of the policy: a column `reward.<name>`, what is made of it and its weight in the
/// sum.
struct reward_part_table {
  std::string name;
  double weight = 1;
  std::string normalise = "none";

  bool operator==(const reward_part_table&) const = default;

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("name", s.name, needed(), "of the column reward.<name>: a rule's name, or a reward model's");
    v("weight", s.weight, between(-1e6, 1e6), "factor in the sum");
    v("normalise", s.normalise, one_of({"none", "group", "batch"}),
      "less the mean, over the deviation, of its group or of the whole step");
  }
};

} // namespace millrace::pipeline
