#pragma once

#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>

namespace millrace::rules {

/// What a rule looks at: one answer of the model and what the row says about it.
struct rule_input {
  std::string_view text;    ///< the model's answer, UTF-8
  std::string_view answer;  ///< the row's expected answer; "" where the row has none
  std::int64_t tokens = 0;  ///< length of `text` in tokens
  bool truncated = false;   ///< the answer ended at the token limit, not by itself
};

enum class score_status : std::uint8_t {
  value,   ///< `value` is the reward
  invalid, ///< the row cannot be scored by this rule (no expected answer, one that is no number): `reason` says why
  error,   ///< scoring failed (match limit, deadline): `reason` says why
};

/// A reward or the reason why there is none. Never a silent zero.
struct score {
  double value = 0; ///< 0 unless `status` is value
  score_status status = score_status::value;
  std::string reason;

  static score of(double v) { return {v, score_status::value, {}}; }
  static score invalid(std::string why) { return {0, score_status::invalid, std::move(why)}; }
  static score error(std::string why) { return {0, score_status::error, std::move(why)}; }
};

/// What an option of a rule may hold.
enum class option_type : std::uint8_t { boolean, integer, real, text };

using option_value = std::variant<bool, std::int64_t, double, std::string>;
using option_map = std::map<std::string, option_value, std::less<>>;

/// One option of a rule, for the pipeline's reader and for people.
struct option_description {
  std::string_view name;
  option_type type = option_type::text;
  bool required = false;
  /// What holds when the option is not given; monostate: nothing (the doc says what that means).
  std::variant<std::monostate, bool, std::int64_t, double, std::string_view> default_value = {};
  double minimum = -std::numeric_limits<double>::infinity(); ///< integer and real, inclusive
  double maximum = std::numeric_limits<double>::infinity();  ///< integer and real, inclusive
  std::span<const std::string_view> choices = {};            ///< text: the words it may be; empty = any
  std::string_view doc = {};
};

/// Scores an answer. Pure: no state, clock, file or randomness; safe to call from several threads.
class rule {
public:
  virtual ~rule() = default;
  virtual score evaluate(const rule_input& input) const = 0;

  /// What the rule takes for the answer's statement, in a form that is equal where the meaning is: answers vote with it.
  /// @returns "" where the text states nothing, or the rule looks for no statement
  virtual std::string statement(const rule_input&) const { return {}; }
};

/// A kind of rule: one row of the table that CMake's `millrace_add_rules` writes.
struct rule_type {
  std::string_view name;
  std::string_view doc;
  std::span<const option_description> options;

  /// Builds the rule; `options` holds every option that is required or has a default, each of its described type and
  /// range. Throws input_error for what a description cannot say (a regular expression that does not compile).
  std::unique_ptr<rule> (*make)(const option_map& options);
};

/// Every type of rule, in the order of CMake's list.
std::span<const rule_type* const> rule_types();

/// @returns nullptr for an unknown name
const rule_type* find_rule_type(std::string_view name);

/// Checks `options` against the type's descriptions, fills in the defaults and builds the rule.
///
/// An integer is taken where a real is wanted.
///
/// @throws input_error "rule type: option: what was found, want what", for an unknown type or option, a missing one, a
///         wrong type or a value out of range
std::unique_ptr<rule> make_rule(std::string_view type, const option_map& options);

} // namespace millrace::rules
