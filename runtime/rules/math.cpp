#include "runtime/rules/worker_rule.hpp"
#include "runtime/stated/characters.hpp"
#include "runtime/stated/math_value.hpp"

namespace millrace::rules {

extern const rule_type math;

namespace {

/// 1 if the answer that the text states means the same as the row's, else 0. Where one of the two is a formula that
/// cannot be read and they are not the same text, nothing is known: `fallback` is asked if there is one.
class math_rule final : public rule {
public:
  math_rule(stated::math_place where, std::unique_ptr<rule> fallback) : where_(where), fallback_(std::move(fallback)) {}

  std::string unreadable(std::string_view answer) const override {
    return stated::trimmed(answer).empty() ? "the row has no answer"
           : stated::trimmed(stated::expected_math(answer)).empty()
               ? "the row's answer states nothing in its box or behind its ####"
               : "";
  }

  score evaluate(const rule_input& input) const override {
    if (std::string why = unreadable(input.answer); !why.empty())
      return score::invalid(std::move(why));
    const std::string expected = stated::expected_math(input.answer), found = stated::stated_math(input.text, where_);
    if (stated::is_same_math(expected, found))
      return score::of(1);
    if (!fallback_ || stated::trimmed(found).empty()
        || !(stated::is_unread_math(expected) || stated::is_unread_math(found)))
      return score::of(0);
    return fallback_->evaluate({.text = found, .answer = expected});
  }

  std::string unusable() const override {
    const std::string why = fallback_ ? fallback_->unusable() : std::string();
    return why.empty() ? "" : "fallback math_verify: " + why + " (pip install 'math-verify[antlr4_13_2]')";
  }

  std::chrono::milliseconds longest(std::size_t callers) const override {
    return fallback_ ? fallback_->longest(callers) : std::chrono::milliseconds();
  }

  std::string statement(const rule_input& input) const override {
    return stated::with_spaces_as(stated::stated_math(input.text, where_), " ");
  }

private:
  stated::math_place where_;
  std::unique_ptr<rule> fallback_;
};

std::unique_ptr<rule> math_fallback(const option_values& given) {
  if (std::get<std::string>(given.at("fallback")) == "none")
    return nullptr;
  return std::make_unique<worker_rule>(reward_worker(given, "", "", "math_verify"));
}

std::vector<option> math_options() {
  return with_worker_options(
      {{.name = "extract",
        .fallback = std::string("any"),
        .allowed = one_of({"any", "boxed", "hash", "whole"}),
        .meaning = "where the text states its answer: any = in its last box, else behind its last ####, else "
                   "the last it says; boxed = in its last \\boxed{}; hash = behind its last ####; whole = it "
                   "is the whole text"},
       {.name = "fallback",
        .fallback = std::string("none"),
        .allowed = one_of({"none", "math_verify"}),
        .meaning = "who is asked where one of the two is a formula that this rule cannot read: nobody, and the score "
                   "is 0; or the Python package math-verify, in `workers` processes"},
       {.name = "python",
        .fallback = std::string("python3"),
        .allowed = any(),
        .meaning = "the interpreter that has the package: a path, or a name to look for in PATH"}});
}

std::unique_ptr<rule> make_math(const option_values& given) {
  const auto& word = std::get<std::string>(given.at("extract"));
  const auto where = word == "boxed"   ? stated::math_place::boxed
                     : word == "hash"  ? stated::math_place::hash
                     : word == "whole" ? stated::math_place::whole
                                       : stated::math_place::any;
  return std::make_unique<math_rule>(where, math_fallback(given));
}

} // namespace

const rule_type math{
    .name = "math",
    .meaning =
        "1 if the answer that the text states means the same as the row's: numbers, formulas, equations, tuples, "
        "intervals, sets, matrices, words; else 0",
    .options = math_options(),
    .make = make_math};

} // namespace millrace::rules
