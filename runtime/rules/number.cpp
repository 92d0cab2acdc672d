#include "runtime/rules/exact_number.hpp"
#include "runtime/rules/rule.hpp"
#include "runtime/rules/white_space.hpp"

namespace millrace::rules {

extern const rule_type number;

namespace {

enum class place { last, boxed, hash, whole };

/// What stands between the braces of the last `\boxed{...}`; nothing if there is none that is closed.
std::optional<std::string_view> last_box(std::string_view text) {
  constexpr std::string_view open = "\\boxed{";
  const std::size_t at = text.rfind(open);
  if (at == std::string_view::npos)
    return std::nullopt;
  const std::string_view inside = text.substr(at + open.size());
  int depth = 1;
  for (std::size_t i = 0; i < inside.size(); ++i) {
    depth += inside[i] == '{' ? 1 : inside[i] == '}' ? -1 : 0;
    if (depth == 0)
      return inside.substr(0, i);
  }
  return std::nullopt;
}

/// A box without what names or measures its number: `x = `, `\text{...}` and all behind it, `^\circ`.
std::string_view without_names(std::string_view box) {
  if (const std::size_t equals = box.rfind('='); equals != std::string_view::npos)
    box.remove_prefix(equals + 1);
  for (const std::string_view unit : {"\\text", "\\mathrm", "\\mbox", "^\\circ", "^{\\circ}", "\\;", "\\ "})
    if (const std::size_t at = box.find(unit); at != std::string_view::npos)
      box = box.substr(0, at);
  return box;
}

std::optional<exact_number> find_number(std::string_view text, place where, bool hundredth) {
  switch (where) {
  case place::last:
    return last_number(text, hundredth);
  case place::whole:
    return exact_number::whole(text, hundredth);
  case place::boxed: {
    const auto box = last_box(text);
    return box ? exact_number::whole(without_names(*box), hundredth) : std::nullopt;
  }
  case place::hash: {
    constexpr std::string_view mark = "####";
    const std::size_t at = text.rfind(mark);
    return at == std::string_view::npos ? std::nullopt
                                        : exact_number::at_start(trimmed(text.substr(at + mark.size())), hundredth);
  }
  }
  return std::nullopt;
}

/// The row's answer: a number, or a worked solution that marks one.
std::optional<exact_number> expected_number(std::string_view answer, bool hundredth) {
  if (const auto whole = find_number(answer, place::whole, hundredth))
    return whole;
  if (const auto marked = find_number(answer, place::hash, hundredth))
    return marked;
  return find_number(answer, place::boxed, hundredth);
}

/// 1 if the number found in the text equals the row's exactly, else 0; a text without a number scores 0.
class number_rule final : public rule {
public:
  number_rule(place where, bool percent_is_hundredth) : where_(where), hundredth_(percent_is_hundredth) {}

  score evaluate(const rule_input& input) const override {
    if (trimmed(input.answer).empty())
      return score::invalid("the row has no answer");
    const auto want = expected_number(input.answer, hundredth_);
    if (!want)
      return score::invalid("the row's answer is no number: \"" + std::string(input.answer.substr(0, 60)) + "\"");
    const auto found = find_number(input.text, where_, hundredth_);
    return score::of(found && *found == *want ? 1 : 0);
  }

  std::string statement(const rule_input& input) const override {
    const auto found = find_number(input.text, where_, hundredth_);
    return found ? found->canonical() : std::string();
  }

private:
  place where_;
  bool hundredth_;
};

std::unique_ptr<rule> make_number(const option_values& given) {
  const auto& word = std::get<std::string>(given.at("extract"));
  const place where = word == "last"    ? place::last
                      : word == "boxed" ? place::boxed
                      : word == "hash"  ? place::hash
                                        : place::whole;
  return std::make_unique<number_rule>(where, std::get<std::string>(given.at("percent")) == "hundredth");
}

} // namespace

const rule_type number{
    .name = "number",
    .meaning = "1 if a number in the answer equals the row's exactly, else 0",
    .options =
        {{.name = "extract",
          .fallback = std::string("last"),
          .allowed = one_of({"last", "boxed", "hash", "whole"}),
          .meaning =
              "which number of the answer: the last, the one in \\boxed{}, the one behind ####, or the whole text"},
         {.name = "percent",
          .fallback = std::string("unit"),
          .allowed = one_of({"unit", "hundredth"}),
          .meaning = "whether 5% is 5 (a unit, like $) or 0.05"}},
    .make = make_number};

} // namespace millrace::rules
