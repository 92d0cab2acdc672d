#include "runtime/rules/python_text.hpp"
#include "runtime/rules/rule.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

namespace millrace::rules {

extern const rule_type math_dapo;

namespace {

using text_pair = std::pair<std::u32string_view, std::u32string_view>;

constexpr std::array<text_pair, 10> substitutions{{{U"an ", U""},
                                                   {U"a ", U""},
                                                   {U".$", U"$"},
                                                   {U"\\$", U""},
                                                   {U"\\ ", U""},
                                                   {U" ", U""},
                                                   {U"mbox", U"text"},
                                                   {U",\\text{and}", U","},
                                                   {U"\\text{and}", U","},
                                                   {U"\\text{m}", U"\\text{}"}}};

constexpr std::array<std::u32string_view, 41> removed{
    {U"square",     U"ways",       U"integers",  U"dollars",      U"mph",
     U"inches",     U"hours",      U"km",        U"units",        U"\\ldots",
     U"sue",        U"points",     U"feet",      U"minutes",      U"digits",
     U"cents",      U"degrees",    U"cm",        U"gm",           U"pounds",
     U"meters",     U"meals",      U"edges",     U"students",     U"childrentickets",
     U"multiples",  U"\\text{s}",  U"\\text{.}", U"\\text{\ns}",  U"\\text{}^2",
     U"\\text{}^3", U"\\text{\n}", U"\\text{}",  U"\\mathrm{th}", U"^\\circ",
     U"^{\\circ}",  U"\\;",        U",\\!",      U"{,}",          U"\"",
     U"\\dots"}};

/// Each line with two `$`: `$`, the text between the first two, `$`.
python_text between_dollars(const python_text& text) {
  python_text out;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(U'\n', at), text.size());
    const python_text line = text.substr(at, end - at);
    const std::size_t first = line.find(U'$');
    const std::size_t second = first == python_text::npos ? first : line.find(U'$', first + 1);
    out += second == python_text::npos ? line : line.substr(first, second + 1 - first);
    if (end < text.size())
      out += U'\n';
    at = end + 1;
  }
  return out;
}

enum class closing { first, last };

/// Each `command` (with its open brace) and a brace on the same line that closes it: what is between them.
python_text without_command(const python_text& text, std::u32string_view command, closing brace) {
  python_text out;
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t found = text.find(command, at);
    if (found == python_text::npos)
      break;
    const std::size_t begin = found + command.size();
    const std::size_t line_end = std::min(text.find(U'\n', begin), text.size());
    const std::size_t close = brace == closing::first
                                  ? text.find(U'}', begin)
                                  : (line_end == 0 ? python_text::npos : text.rfind(U'}', line_end - 1));
    if (close == python_text::npos || close < begin || close >= line_end) {
      out.append(text, at, found + 1 - at);
      at = found + 1;
      continue;
    }
    out.append(text, at, found - at);
    out.append(text, begin, close - begin);
    at = close + 1;
  }
  return at < text.size() ? out.append(text, at) : out;
}

/// `fracab` -> `frac{a}{b}`, `sqrta` -> `sqrt{a}`. @param arguments 2 or 1
python_text with_braces(const python_text& text, std::u32string_view command, std::size_t arguments) {
  python_text out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t begin = at + command.size();
    const bool matches = text.compare(at, command.size(), command) == 0 && begin + arguments <= text.size()
                         && text[begin] != U'{' && (arguments == 1 || text[begin + 1] != U'\n');
    if (!matches) {
      out += text[at++];
      continue;
    }
    out += command;
    for (std::size_t argument = 0; argument < arguments; ++argument)
      ((out += U'{') += text[begin + argument]) += U'}';
    at = begin + arguments;
  }
  return out;
}

/// verl's `normalize_final_answer`.
python_text normalised(const python_text& answer) {
  python_text text = split_at(answer, U"=").back();
  for (const auto& [from, to] : substitutions)
    text = replaced(text, from, to);
  for (const auto& word : removed)
    text = replaced(text, word, U"");
  text = between_dollars(text);
  text = without_command(text, U"\\text{", closing::first);
  text = without_command(text, U"\\textbf{", closing::first);
  text = without_command(text, U"\\overline{", closing::first);
  text = without_command(text, U"\\boxed{", closing::last);
  text = with_braces(text, U"frac", 2);
  text = with_braces(text, U"sqrt", 1);
  text = replaced(text, U"$", U"");
  if (auto digits = replaced(text, U",", U""); is_python_digits(digits))
    text = std::move(digits);
  return stripped(text);
}

/// The length of "Answer" at `at`, in any case, as Python compares it: s is also the long s. 0 if it is not there.
std::size_t answer_word(const python_text& text, std::size_t at) {
  constexpr std::u32string_view lower = U"answer", upper = U"ANSWER";
  if (text.size() - at < lower.size())
    return 0;
  for (std::size_t i = 0; i < lower.size(); ++i)
    if (const char32_t c = text[at + i]; c != lower[i] && c != upper[i] && !(lower[i] == U's' && c == U'\u017F'))
      return 0;
  return lower.size();
}

std::size_t behind_spaces(const python_text& text, std::size_t at) {
  while (at < text.size() && is_python_space(text[at]))
    ++at;
  return at;
}

/// The last match of Python's (?i)Answer\s*:\s*([^\n]+): the group, or "[INVALID]".
python_text last_answer_line(const python_text& text) {
  python_text last = U"[INVALID]";
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t word = answer_word(text, at);
    const std::size_t colon = word == 0 ? text.size() : behind_spaces(text, at + word);
    ++at;
    if (colon >= text.size() || text[colon] != U':')
      continue;
    // The spaces behind the colon are taken first, and given back from the right until a line begins there.
    std::size_t begin = behind_spaces(text, colon + 1);
    while (begin > colon && (begin == text.size() || text[begin] == U'\n'))
      --begin;
    if (begin == colon)
      continue;
    const std::size_t end = std::min(text.find(U'\n', begin), text.size());
    last = text.substr(begin, end - begin);
    at = end;
  }
  return last;
}

/// What is in the last \boxed{} of the text.
std::optional<python_text> text_of_strict_box(const python_text& text) {
  constexpr std::u32string_view command = U"\\boxed{";
  const std::size_t at = text.rfind(command);
  const python_text whole = at == python_text::npos ? python_text() : through_closing_brace(text, at);
  if (whole.empty())
    return std::nullopt;
  return whole.substr(command.size(), whole.size() - command.size() - 1);
}

/// verl's `math_dapo.compute_score`: 1 or -1.
class math_dapo_rule final : public rule {
public:
  math_dapo_rule(bool is_strict, std::optional<std::int64_t> pause_token)
      : is_strict_(is_strict), pause_token_(pause_token) {}

  std::string unreadable(std::string_view answer) const override {
    return answer.empty() ? "the row has no answer" : "";
  }

  score evaluate(const rule_input& input) const override {
    if (std::string why = unreadable(input.answer); !why.empty())
      return score::invalid(std::move(why));
    const auto answer = as_python_text(input.answer);
    const auto found = stated(input.text);
    return score::of(found && *found == (is_strict_ ? answer : normalised(answer)) ? 1 : -1);
  }

  std::string statement(const rule_input& input) const override {
    return as_utf8(stated(input.text).value_or(python_text()));
  }

private:
  std::optional<python_text> stated(std::string_view whole) const {
    constexpr std::size_t clip = 300, strict_clip = 100;
    const auto text = last_characters(as_python_text(whole), clip);
    if (!is_strict_)
      return normalised(last_answer_line(text));
    if (!pause_token_)
      return text_of_strict_box(last_characters(text, strict_clip));
    // Python's text[pause_token - 100 :], which counts a negative index from the end.
    const auto size = static_cast<std::int64_t>(text.size()), from = *pause_token_ - std::int64_t{strict_clip};
    return text_of_strict_box(
        text.substr(static_cast<std::size_t>(std::clamp(from < 0 ? from + size : from, std::int64_t{0}, size))));
  }

  bool is_strict_;
  std::optional<std::int64_t> pause_token_;
};

std::unique_ptr<rule> make_math_dapo(const option_values& given) {
  const auto pause = given.find("pause_token");
  return std::make_unique<math_dapo_rule>(std::get<bool>(given.at("strict_box_verify")),
                                          pause == given.end() ? std::nullopt
                                                               : std::optional(std::get<std::int64_t>(pause->second)));
}

} // namespace

const rule_type math_dapo{
    .name = "math_dapo",
    .meaning = "as verl's math_dapo.compute_score: 1 if what the answer's last 300 characters say behind the last "
               "\"Answer:\" is the row's answer, both normalised; else -1",
    .options = {{.name = "strict_box_verify",
                 .fallback = false,
                 .allowed = any(),
                 .meaning = "compare what is in the last \\boxed{} of the last 100 characters, as it is written"},
                {.name = "pause_token",
                 .fallback = std::int64_t{0},
                 .allowed = at_least(0),
                 .meaning = "the last of verl's `pause_tokens_index`: with strict_box_verify, the box is looked for "
                            "from 100 characters before it",
                 .optional = true}},
    .make = make_math_dapo};

} // namespace millrace::rules
