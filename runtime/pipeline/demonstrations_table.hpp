#pragma once

#include "runtime/pipeline/planned_abilities.hpp"
#include "runtime/pipeline/vocabulary.hpp"
#include "runtime/words/columns.hpp"
#include "runtime/words/limits.hpp"

#include <cstdint>
#include <string>
#include <vector>

namespace millrace::pipeline {

/// `kind = "demonstrations"`: stands where a rollout stands; its answers are those that the source's rows hold.
struct demonstrations_table {
  static constexpr std::string_view kind = "demonstrations";
  static constexpr std::string_view summary = "gives the answers that people wrote";
  static constexpr bool heavy = false;
  static constexpr bool replicated = true;

  std::string model;
  std::string form = "completion";
  std::string train_on = "every";
  std::int64_t max_answer_tokens = 4096;

  bool operator==(const demonstrations_table&) const = default;

  static constexpr planned_abilities abilities() { return {.answers = 1}; }

  std::vector<std::string> reads(const vocabulary&) const {
    return column::names(column::prompt, column::prompt_lengths, column::demonstrations, column::demonstration_lengths,
                         column::demonstration_turns, column::margin);
  }

  std::vector<std::string> adds() const {
    return column::names(column::prompt_tokens, column::tokens, column::mask, column::logprob, column::version,
                         column::lengths, column::finish, column::text, column::text_lengths, column::reward);
  }

  template <class Self, class Visitor>
  static void visit(Self& s, Visitor& v) {
    v("model", s.model, needed(), "the [models.*] table whose tokenizer and chat template write the rows");
    v("form", s.form, one_of({"completion", "preference"}),
      "completion = one answer, reward 1; preference = the better with reward 1, or the row's margin, and the worse "
      "with 0");
    v("train_on", s.train_on, one_of({"every", "last"}),
      "which of the assistant's turns of a chat row; last = the others are prompt");
    v("max_answer_tokens", s.max_answer_tokens, between(1, 1 << 20),
      "tokens of the longest answer used; longer rows are skipped");
  }
};

} // namespace millrace::pipeline
