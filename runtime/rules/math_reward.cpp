#include "runtime/rules/python_text.hpp"
#include "runtime/rules/rule.hpp"

#include <algorithm>
#include <optional>

namespace millrace::rules {

extern const rule_type math_reward;

namespace {

bool is_braced(const python_text& part) {
  return part.starts_with(U"{");
}

/// \frac12 -> \frac{1}{2}. Nothing where verl's function raises: a text that ends with \frac.
std::optional<python_text> with_fraction_braces(const python_text& text) {
  const auto parts = split_at(text, U"\\frac");
  python_text out = parts.front();
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const auto& part = parts[i];
    if (part.empty())
      return std::nullopt;
    out += U"\\frac";
    if (is_braced(part)) {
      out += part;
      continue;
    }
    if (part.size() < 2)
      return text;
    ((out += U"{") += part[0]) += U"}";
    if (part.compare(1, 1, U"{") == 0)
      out += part[1];
    else
      ((out += U"{") += part[1]) += U"}";
    out.append(part, 2);
  }
  return out;
}

/// \sqrt3 -> \sqrt{3}. Nothing for a text that ends with \sqrt.
std::optional<python_text> with_root_braces(const python_text& text) {
  const auto parts = split_at(text, U"\\sqrt");
  python_text out = parts.front();
  for (std::size_t i = 1; i < parts.size(); ++i) {
    const auto& part = parts[i];
    if (part.empty())
      return std::nullopt;
    out += U"\\sqrt";
    if (is_braced(part))
      out += part;
    else
      (((out += U"{") += part[0]) += U"}").append(part, 1);
  }
  return out;
}

/// An integer in the spelling that Python's str gives it, of a length that Python's int takes.
bool is_plain_integer(const python_text& text) {
  constexpr std::size_t most_digits = 4300;
  const std::size_t sign = !text.empty() && text[0] == U'-' ? 1 : 0;
  const std::size_t digits = text.size() - sign;
  if (digits == 0 || digits > most_digits || (text[sign] == U'0' && text.size() > 1))
    return false;
  return std::all_of(text.begin() + static_cast<std::ptrdiff_t>(sign), text.end(),
                     [](char32_t c) { return c >= U'0' && c <= U'9'; });
}

/// 1/2 -> \frac{1}{2}
python_text with_fraction_command(const python_text& text) {
  const auto parts = split_at(text, U"/");
  if (parts.size() != 2 || !is_plain_integer(parts[0]) || !is_plain_integer(parts[1]))
    return text;
  return U"\\frac{" + parts[0] + U"}{" + parts[1] + U"}";
}

/// verl's `strip_string`; nothing where it raises.
std::optional<python_text> plain_string(python_text text) {
  constexpr std::pair<std::u32string_view, std::u32string_view> first_changes[] = {
      {U"\n", U""},     {U"\\!", U""},     {U"\\\\", U"\\"},    {U"tfrac", U"frac"}, {U"dfrac", U"frac"},
      {U"\\left", U""}, {U"\\right", U""}, {U"^{\\circ}", U""}, {U"^\\circ", U""},   {U"\\$", U""}};
  for (const auto& [from, to] : first_changes)
    text = replaced(text, from, to);
  if (auto parts = split_at(text, U"\\text{ "); parts.size() > 2)
    return std::nullopt;
  else
    text = std::move(parts.front());
  constexpr std::pair<std::u32string_view, std::u32string_view> last_changes[] = {
      {U"\\\\%", U""}, {U"\\%", U""}, {U" .", U" 0."}, {U"{.", U"{0."}};
  for (const auto& [from, to] : last_changes)
    text = replaced(text, from, to);
  if (text.empty())
    return text;
  if (text.front() == U'.')
    text.insert(0, 1, U'0');
  if (auto sides = split_at(text, U"="); sides.size() == 2 && sides[0].size() <= 2)
    text = std::move(sides[1]);
  auto rooted = with_root_braces(text);
  if (!rooted)
    return std::nullopt;
  auto done = with_fraction_braces(replaced(*rooted, U" ", U""));
  if (!done)
    return std::nullopt;
  return with_fraction_command(*done == U"0.5" ? U"\\frac{1}{2}" : *done);
}

/// The text in the last box; nothing where there is none that verl's functions take.
std::optional<python_text> text_in_last_box(const python_text& text) {
  constexpr std::u32string_view spaced = U"\\boxed ", braced = U"\\boxed{";
  if (const std::size_t at = text.rfind(spaced); at != python_text::npos) {
    const std::size_t begin = at + spaced.size();
    return text.substr(begin, std::min(text.find(U'$', begin), text.size()) - begin);
  }
  const std::size_t at = text.rfind(U"\\boxed");
  if (at == python_text::npos || text.compare(at, braced.size(), braced) != 0)
    return std::nullopt;
  const python_text whole = through_closing_brace(text, at);
  if (whole.empty())
    return std::nullopt;
  return whole.substr(braced.size(), whole.size() - braced.size() - 1);
}

/// verl's `math_reward.compute_score`: 1 or 0.
class math_reward_rule final : public rule {
public:
  std::string unreadable(std::string_view answer) const override {
    return answer.empty() ? "the row has no answer" : "";
  }

  score evaluate(const rule_input& input) const override {
    if (std::string why = unreadable(input.answer); !why.empty())
      return score::invalid(std::move(why));
    const auto stated = text_in_last_box(as_python_text(input.text));
    if (!stated)
      return score::of(0);
    const auto answer = as_python_text(input.answer);
    const auto left = plain_string(*stated), right = plain_string(answer);
    return score::of((left && right ? *left == *right : *stated == answer) ? 1 : 0);
  }

  std::string statement(const rule_input& input) const override {
    const auto stated = text_in_last_box(as_python_text(input.text));
    return stated ? as_utf8(plain_string(*stated).value_or(*stated)) : std::string();
  }
};

std::unique_ptr<rule> make_math_reward(const option_values&) {
  return std::make_unique<math_reward_rule>();
}

} // namespace

const rule_type math_reward{
    .name = "math_reward",
    .meaning = "as verl's math_reward.compute_score, its function for MATH: 1 if what is in the answer's last "
               "\\boxed{} is the row's answer, both in one spelling; else 0",
    .options = {},
    .make = make_math_reward};

} // namespace millrace::rules
