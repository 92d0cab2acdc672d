#include "runtime/formats/quoted.hpp"
#include "runtime/rules/rule.hpp"
#include "runtime/stated/characters.hpp"
#include "runtime/stated/stated_numbers.hpp"

namespace millrace::rules {

extern const rule_type number;

namespace {

/// 1 if what the text states equals what the row's answer states, exactly, else 0; a text that states nothing scores 0.
class number_rule final : public rule {
public:
  number_rule(stated::number_place where, bool percent_is_hundredth)
      : where_(where), hundredth_(percent_is_hundredth) {}

  std::string unreadable(std::string_view answer) const override {
    if (stated::trimmed(answer).empty())
      return "the row has no answer";
    return stated::expected_in(answer, hundredth_).empty()
               ? "the row's answer is no number: " + formats::in_quotes(answer)
               : "";
  }

  score evaluate(const rule_input& input) const override {
    const auto want = stated::expected_in(input.answer, hundredth_);
    if (want.empty())
      return score::invalid(unreadable(input.answer));
    return score::of(stated::stated_in(input.text, where_, hundredth_) == want ? 1 : 0);
  }

  std::string statement(const rule_input& input) const override {
    return stated::canonical(stated::stated_in(input.text, where_, hundredth_));
  }

private:
  stated::number_place where_;
  bool hundredth_;
};

std::unique_ptr<rule> make_number(const option_values& given) {
  const auto& word = std::get<std::string>(given.at("extract"));
  const stated::number_place where = word == "last"    ? stated::number_place::last
                                     : word == "boxed" ? stated::number_place::boxed
                                     : word == "hash"  ? stated::number_place::hash
                                                       : stated::number_place::whole;
  return std::make_unique<number_rule>(where, std::get<std::string>(given.at("percent")) == "hundredth");
}

} // namespace

const rule_type number{
    .name = "number",
    .meaning = "1 if the number that the answer states equals the row's exactly, else 0",
    .options =
        {{.name = "extract",
          .fallback = std::string("last"),
          .allowed = one_of({"last", "boxed", "hash", "whole"}),
          .meaning =
              "where the answer states its number: last = in its last box, else the last number; boxed = in its last "
              "\\boxed{}; hash = behind its last ####; whole = it is the whole text"},
         {.name = "percent",
          .fallback = std::string("unit"),
          .allowed = one_of({"unit", "hundredth"}),
          .meaning = "whether 5% is 5 (a unit, like $) or 0.05"}},
    .make = make_number};

} // namespace millrace::rules
