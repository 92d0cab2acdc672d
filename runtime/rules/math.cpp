#include "runtime/rules/rule.hpp"
#include "runtime/stated/characters.hpp"
#include "runtime/stated/math_value.hpp"

namespace millrace::rules {

extern const rule_type math;

namespace {

/// 1 if the answer that the text states means the same as the row's, else 0.
class math_rule final : public rule {
public:
  explicit math_rule(stated::math_place where) : where_(where) {}

  std::string unreadable(std::string_view answer) const override {
    return stated::trimmed(answer).empty() ? "the row has no answer"
           : stated::trimmed(stated::expected_math(answer)).empty()
               ? "the row's answer states nothing in its box or behind its ####"
               : "";
  }

  score evaluate(const rule_input& input) const override {
    if (std::string why = unreadable(input.answer); !why.empty())
      return score::invalid(std::move(why));
    return score::of(
        stated::is_same_math(stated::expected_math(input.answer), stated::stated_math(input.text, where_)) ? 1 : 0);
  }

  std::string statement(const rule_input& input) const override {
    return stated::with_spaces_as(stated::stated_math(input.text, where_), " ");
  }

private:
  stated::math_place where_;
};

std::unique_ptr<rule> make_math(const option_values& given) {
  const auto& word = std::get<std::string>(given.at("extract"));
  return std::make_unique<math_rule>(word == "boxed"   ? stated::math_place::boxed
                                     : word == "hash"  ? stated::math_place::hash
                                     : word == "whole" ? stated::math_place::whole
                                                       : stated::math_place::any);
}

} // namespace

const rule_type math{
    .name = "math",
    .meaning =
        "1 if the answer that the text states means the same as the row's: numbers, formulas, equations, tuples, "
        "intervals, sets, matrices, words; else 0",
    .options = {{.name = "extract",
                 .fallback = std::string("any"),
                 .allowed = one_of({"any", "boxed", "hash", "whole"}),
                 .meaning = "where the text states its answer: any = in its last box, else behind its last ####, else "
                            "the last it says; boxed = in its last \\boxed{}; hash = behind its last ####; whole = it "
                            "is the whole text"}},
    .make = make_math};

} // namespace millrace::rules
