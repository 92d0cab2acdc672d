#pragma once

#include "tools/scoring_roles.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace millrace::tools {

/// How a row's own expected answer is put before a rule, as if the model had written it.
inline constexpr std::array<const char*, 4> answer_forms{"as written", "in \\boxed{}", "behind ####", "behind Answer:"};

/// What one rule says of the rows' own expected answers, each in the form that the rule likes best.
struct gold_scores {
  struct tally {
    std::uint64_t rows = 0;
    std::array<std::uint64_t, answer_forms.size()> by_form{}; ///< the first of the forms that got the score
    std::vector<std::string> examples;                        ///< the first ones: `file:line: answer '59'`
  };

  std::string role, rule;
  bool compares = true; ///< false: it never looks at the expected answer, so there is nothing to try
  std::map<double, tally> by_score = {};
  std::map<std::string, tally> failures = {}; ///< by kind; examples with the reason

  /// The best score: 1, or where some answer got more, that.
  double full_marks() const;
  std::uint64_t rows() const;      ///< that it scored or failed on
  std::uint64_t full_rows() const; ///< with full marks
};

/// Rows that are left out for one reason.
struct skipped_rows {
  std::uint64_t rows = 0;
  std::string example; ///< `file:line: reason`, of the first
};

/// A prompt as the model will see it.
struct shown_prompt {
  std::string where;
  std::vector<std::int32_t> tokens;
  std::string text; ///< of the tokens
};

/// What the rows of a source or an evaluation are to the pipeline.
struct checked_data {
  std::string name;       ///< of the role; "STAGE.ROLE" in a file with stages
  std::string from;       ///< the file, or what makes the rows up
  bool made_up = false;   ///< rows without end: `rows` of them were looked at
  std::uint64_t rows = 0; ///< that were read, those left out among them
  std::uint64_t used = 0;
  std::vector<skipped_rows> skipped;            ///< most rows first
  std::map<std::size_t, std::uint64_t> lengths; ///< rows by tokens of their prompt
  std::vector<shown_prompt> prompts;            ///< the first ones that are used
  std::vector<gold_scores> gold;                ///< of each rule behind the rows
  std::string failed;                           ///< why reading ended before the last row; "" = it did not
};

/// Reads every row of the role, a bounded number of one that makes rows up, and lets the rules behind it score each
/// row's own expected answer. Of the model it loads the tokenizer.
/// @param role a source or an evaluation
/// @returns one for each of the role's sources
/// @throws input_error for a model or a rule that cannot be used
std::vector<checked_data> check_data(const pipeline::stage& stage, const pipeline::role& role);

/// Tokens of the prompt that is at least as long as this share of all. @param share in (0, 1]
std::size_t length_at(const checked_data& data, double share);

/// The same for people. What should be looked at begins with "warning:".
std::string in_words(const checked_data& data);

/// One line of JSON.
std::string in_json(const checked_data& data);

} // namespace millrace::tools
