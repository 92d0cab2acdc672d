#include "runtime/rules/characters.hpp"
#include "runtime/rules/math_value.hpp"
#include "runtime/rules/rule.hpp"

namespace millrace::rules {

extern const rule_type math;

namespace {

/// 1 if the answer that the text states means the same as the row's, else 0.
class math_rule final : public rule {
public:
  explicit math_rule(math_place where) : where_(where) {}

  std::string unreadable(std::string_view answer) const override {
    return trimmed(answer).empty()                  ? "the row has no answer"
           : trimmed(expected_math(answer)).empty() ? "the row's answer states nothing in its box or behind its ####"
                                                    : "";
  }

  score evaluate(const rule_input& input) const override {
    if (std::string why = unreadable(input.answer); !why.empty())
      return score::invalid(std::move(why));
    return score::of(is_same_math(expected_math(input.answer), stated_math(input.text, where_)) ? 1 : 0);
  }

  std::string statement(const rule_input& input) const override {
    return with_spaces_as(stated_math(input.text, where_), " ");
  }

private:
  math_place where_;
};

std::unique_ptr<rule> make_math(const option_values& given) {
  const auto& word = std::get<std::string>(given.at("extract"));
  return std::make_unique<math_rule>(word == "boxed"   ? math_place::boxed
                                     : word == "hash"  ? math_place::hash
                                     : word == "whole" ? math_place::whole
                                                       : math_place::any);
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
