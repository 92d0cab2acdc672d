#include "runtime/rules/python_text.hpp"
#include "runtime/rules/rule.hpp"

#include <optional>
#include <vector>

namespace millrace::rules {

extern const rule_type gsm8k;

namespace {

bool is_of_number(char32_t c) {
  return std::u32string_view(U"0123456789.,").find(c) != std::u32string_view::npos;
}

/// Every "(-?[0-9.,]+)" of the text that stands behind `mark`, from left to right, as Python's re.findall gives them.
std::vector<python_text> numbers_behind(const python_text& text, std::u32string_view mark) {
  std::vector<python_text> found;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at + mark.size();
    if (text.compare(at, mark.size(), mark) != 0) {
      ++at;
      continue;
    }
    const std::size_t digits = begin + (text.compare(begin, 1, U"-") == 0 ? 1 : 0);
    std::size_t end = digits;
    while (end < text.size() && is_of_number(text[end]))
      ++end;
    if (end == digits) {
      ++at;
      continue;
    }
    found.push_back(text.substr(begin, end - begin));
    at = end;
  }
  return found;
}

/// verl's `gsm8k.compute_score`: the text of the last number behind "#### ", or of the last one, is the row's answer.
class gsm8k_rule final : public rule {
public:
  gsm8k_rule(bool is_strict, double format_score, double full_score)
      : is_strict_(is_strict), format_score_(format_score), full_score_(full_score) {}

  std::string unreadable(std::string_view answer) const override {
    return answer.empty() ? "the row has no answer" : "";
  }

  score evaluate(const rule_input& input) const override {
    if (std::string why = unreadable(input.answer); !why.empty())
      return score::invalid(std::move(why));
    const auto answer = extracted(input.text);
    return score::of(!answer ? 0 : *answer == as_python_text(input.answer) ? full_score_ : format_score_);
  }

  std::string statement(const rule_input& input) const override {
    return as_utf8(extracted(input.text).value_or(python_text()));
  }

private:
  std::optional<python_text> extracted(std::string_view text) const {
    constexpr std::size_t clip = 300;
    const auto found = numbers_behind(last_characters(as_python_text(text), clip), is_strict_ ? U"#### " : U"");
    if (found.empty())
      return std::nullopt;
    if (is_strict_)
      return replaced(found.back(), U",", U"");
    for (auto at = found.rbegin(); at != found.rend(); ++at)
      if (*at != U".")
        return *at;
    return found.front();
  }

  bool is_strict_;
  double format_score_, full_score_;
};

std::unique_ptr<rule> make_gsm8k(const option_values& given) {
  return std::make_unique<gsm8k_rule>(std::get<std::string>(given.at("method")) == "strict",
                                      std::get<double>(given.at("format_score")), std::get<double>(given.at("score")));
}

} // namespace

const rule_type gsm8k{
    .name = "gsm8k",
    .meaning = "as verl's gsm8k.compute_score: `score` if the last number of the answer's last 300 characters is the "
               "row's answer, `format_score` for another number, 0 for none",
    .options = {{.name = "method",
                 .fallback = std::string("strict"),
                 .allowed = one_of({"strict", "flexible"}),
                 .meaning = "strict = the number behind the last \"#### \", without its commas; flexible = the last "
                            "number as it is written"},
                {.name = "format_score",
                 .fallback = 0.0,
                 .allowed = any(),
                 .meaning = "the score of an answer whose number is wrong"},
                {.name = "score",
                 .fallback = 1.0,
                 .allowed = any(),
                 .meaning = "the score of an answer whose number is right"}},
    .make = make_gsm8k};

} // namespace millrace::rules
