#pragma once

#include "runtime/words/chat_turn.hpp"
#include "runtime/words/failure_kind.hpp"
#include "runtime/words/option.hpp"

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::rules {

/// What the row says beside its expected answer. Only rules that run people's own code look at it.
struct row_context {
  std::vector<chat_turn> prompt;
  std::string data_source;
  std::string extra_info;   ///< JSON text; "" where the row has none
  std::string ground_truth; ///< the expected answer as JSON; "" where it is text

  bool operator==(const row_context&) const = default;
};

/// What a rule looks at: one answer of the model and what the row says about it.
struct rule_input {
  std::string_view text;                             ///< the model's answer, UTF-8
  std::string_view answer;                           ///< the row's expected answer; "" where the row has none
  std::int64_t tokens = 0;                           ///< length of `text` in tokens
  bool truncated = false;                            ///< the answer ended at the token limit, not by itself
  const row_context* row = nullptr;                  ///< nullptr where nobody handed it over
  std::span<const std::int32_t> completion_ids = {}; ///< the answer's tokens; empty where nobody handed them over
  /// The sum of what an environment gave for the answer's turns; nothing: none played it.
  std::optional<double> environment_reward = {};
};

enum class score_status : std::uint8_t {
  value,   ///< `value` is the reward
  invalid, ///< the row cannot be scored by this rule (no expected answer, one that is no number): `reason` says why
  error,   ///< scoring failed: `kind` says how, `reason` why
  not_applicable, ///< the rule has nothing to say about this answer: the other rules decide
};

/// A reward or the reason why there is none. Never a silent zero.
struct score {
  double value = 0; ///< 0 unless `status` is value
  score_status status = score_status::value;
  std::string reason;
  failure_kind kind = failure_kind::refused; ///< of an error
  std::map<std::string, double> metrics;     ///< what the rule says beside the score, by name

  static score of(double v) { return {.value = v}; }

  static score invalid(std::string why) { return {.status = score_status::invalid, .reason = std::move(why)}; }

  static score error(std::string why, failure_kind kind = failure_kind::refused) {
    return {.status = score_status::error, .reason = std::move(why), .kind = kind};
  }

  static score not_applicable() { return {.status = score_status::not_applicable}; }
};

/// Scores an answer. Safe to call from several threads. Pure: no state, clock, file or randomness, but for the rules
/// whose type says `outside`, and for `code`.
class rule {
public:
  virtual ~rule() = default;
  virtual score evaluate(const rule_input& input) const = 0;

  /// Scores the answers of one group, one score each.
  virtual std::vector<score> evaluate_group(std::span<const rule_input> inputs) const {
    std::vector<score> scores;
    for (const rule_input& input : inputs)
      scores.push_back(evaluate(input));
    return scores;
  }

  /// Whether `evaluate_group` is more than `evaluate` of each answer.
  virtual bool wants_groups() const { return false; }

  /// Starts what the rule needs outside this process. @returns why it cannot be used, in one line; "" where it can
  virtual std::string unusable() const { return {}; }

  /// How long one evaluation may take where the rule keeps a deadline of its own; 0: it keeps none.
  /// @param callers threads that may ask at once
  virtual std::chrono::milliseconds longest(std::size_t) const { return {}; }

  /// Nobody wants the scores of what is asked now or later: such evaluations end as failures at once, where the rule
  /// waits for somebody outside this process. Any thread.
  virtual void give_up() const {}

  /// Whether the rule can score a row with this expected answer, whatever the model answers: a row that it cannot score
  /// is best left out before anything is generated for it.
  /// @returns the reason in one line why not, the one of `evaluate`'s `invalid`; "" where it can
  virtual std::string unreadable(std::string_view) const { return {}; }

  /// Whether a row's expected answer is itself an answer, which should get full marks.
  virtual bool scores_expected_answer() const { return true; }

  /// What the rule takes for the answer's statement, in a form that is equal where the meaning is: answers vote with
  /// it.
  /// @returns "" where the text states nothing, or the rule looks for no statement
  virtual std::string statement(const rule_input&) const { return {}; }
};

/// A kind of rule: one row of the table that CMake's `millrace_add_rules` writes. Pipeline files name it and set its
/// options; the reader of those files asks the same row for what it may hold.
struct rule_type {
  std::string name;
  std::string meaning;         ///< one line, for people
  std::vector<option> options; ///< one that may be left out is not among the values where it is

  /// Builds the rule. `values` holds every option that must be written or has a default, each of its type and within
  /// its limits. @throws input_error for what limits cannot say (a regular expression that does not compile)
  std::unique_ptr<rule> (*make)(const option_values& values);

  bool outside = false; ///< runs people's own code in other processes: it looks at the whole row
};

/// Every type of rule, in the order of CMake's list.
std::span<const rule_type* const> rule_types();

/// @returns nullptr for an unknown name
const rule_type* find_rule_type(std::string_view name);

/// Checks `values` against the type's options, fills in the defaults and builds the rule.
///
/// An integer is taken where a real is wanted.
///
/// @throws input_error "rule type: option: what was found, want what", for an unknown type or option, a missing one, a
///         wrong type or a value out of range
std::unique_ptr<rule> make_rule(std::string_view type, const option_values& values);

} // namespace millrace::rules
