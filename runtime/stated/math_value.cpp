#include "runtime/stated/math_value.hpp"

#include "runtime/stated/characters.hpp"
#include "runtime/stated/expression.hpp"
#include "runtime/stated/number_words.hpp"
#include "runtime/stated/plain_math.hpp"
#include "runtime/stated/stated_numbers.hpp"

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

namespace millrace::stated {
namespace {

constexpr std::size_t longest_compared = 2048, most_items = 32;
constexpr int most_nested = 6;

enum class shape { formula, relation, row, set, list, joined, words };

/// One statement. Items are the sides of a relation, or the members of a row in brackets, a set, a list, a union.
struct math_value {
  shape what = shape::words;
  std::string text;  ///< as it was read; of words, as they are compared
  std::string marks; ///< the sign of a relation, the brackets of a row
  bool is_percent = false;
  std::vector<math_value> items = {};
  std::optional<expression> formula = {};
};

math_value read_value(std::string_view text, int depth);

std::string with(std::string text, std::string_view from, std::string_view to) {
  for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

std::string_view without_sentence_end(std::string_view text) {
  text = trimmed(text);
  if (!text.empty() && (text.back() == '.' || text.back() == ',' || text.back() == ';' || text.back() == ':'))
    return trimmed(text.substr(0, text.size() - 1));
  return text;
}

// ---- cutting at marks outside brackets

int depth_change(char c) {
  return c == '(' || c == '[' || c == '{' ? 1 : c == ')' || c == ']' || c == '}' ? -1 : 0;
}

/// Whether the comma at `at` parts thousands of one number: 12,345 but not 12, 345 and not 1,2345.
bool parts_thousands(std::string_view text, std::size_t at) {
  const auto digit = [&](std::size_t i) { return i < text.size() && is_digit(text[i]); };
  std::size_t before = 0;
  while (before < at && digit(at - 1 - before))
    ++before;
  return before >= 1 && before <= 3 && digit(at + 1) && digit(at + 2) && digit(at + 3) && !digit(at + 4);
}

/// Where the next of `marks` stands outside brackets, and which.
std::pair<std::size_t, std::string_view> next_mark(std::string_view text, std::size_t from,
                                                   const std::vector<std::string_view>& marks) {
  int depth = 0;
  for (std::size_t at = from; at < text.size(); ++at) {
    if (depth == 0)
      for (const std::string_view mark : marks)
        if (text.substr(at).starts_with(mark)
            && !(mark[0] == '\\' && is_letter(mark.back()) && at + mark.size() < text.size()
                 && is_letter(text[at + mark.size()])))
          return {at, mark};
    depth = std::max(0, depth + depth_change(text[at]));
  }
  return {text.size(), {}};
}

std::vector<std::string_view> cut(std::string_view text, const std::vector<std::string_view>& marks,
                                  bool keeps_thousands) {
  std::vector<std::string_view> parts;
  std::size_t begin = 0, from = 0;
  for (;;) {
    if (parts.size() == most_items)
      return {text};
    const auto [at, mark] = next_mark(text, from, marks);
    if (!mark.empty() && mark == "," && keeps_thousands && parts_thousands(text, at)) {
      from = at + 1;
      continue;
    }
    if (const auto part = trimmed(text.substr(begin, at - begin)); !part.empty() || !mark.starts_with(' '))
      parts.push_back(part);
    if (at == text.size())
      break;
    begin = from = at + mark.size();
  }
  return parts;
}

/// Whether the first bracket of the text is closed by its last character.
bool is_enclosed(std::string_view text) {
  int depth = 0;
  for (std::size_t at = 0; at < text.size(); ++at) {
    depth += depth_change(text[at]);
    if (depth <= 0)
      return depth == 0 && at + 1 == text.size() && text.size() > 1;
  }
  return false;
}

// ---- reading

math_value of_items(shape what, const std::vector<std::string_view>& parts, std::string marks, int depth) {
  math_value made{.what = what, .text = {}, .marks = std::move(marks)};
  for (const auto part : parts)
    made.items.push_back(read_value(part, depth + 1));
  return made;
}

std::string as_words(std::string_view text) {
  std::string out;
  for (const char c : text)
    if (c >= 'A' && c <= 'Z')
      out += static_cast<char>(c - 'A' + 'a');
    else if (std::string_view(" \n{}").find(c) == std::string_view::npos)
      out += c;
  return out;
}

math_value read_single(std::string_view text) {
  math_value made{.what = shape::formula, .text = std::string(text)};
  made.is_percent = text.ends_with('%');
  if (made.is_percent)
    text = trimmed(text.substr(0, text.size() - 1));
  made.formula = expression::read(text);
  // Units behind it: the shortest end of words that leaves a formula with a digit or a command.
  for (std::size_t end = text.rfind(' '); !made.formula && end != std::string_view::npos && end > 0;
       end = text.rfind(' ', end - 1)) {
    if (!is_letter(text[end + 1]) || !only_measures(text.substr(end)))
      continue;
    if (text.substr(0, end).find_first_of("0123456789\\") != std::string_view::npos)
      made.formula = expression::read(trimmed(text.substr(0, end)));
  }
  if (!made.formula) {
    made.what = shape::words;
    made.text = as_words(made.text);
  }
  return made;
}

constexpr std::array<std::pair<std::string_view, std::string_view>, 13> relation_signs{{{"\\leqslant", "<="},
                                                                                        {"\\geqslant", ">="},
                                                                                        {"\\leq", "<="},
                                                                                        {"\\geq", ">="},
                                                                                        {"\\le", "<="},
                                                                                        {"\\ge", ">="},
                                                                                        {"\\lt", "<"},
                                                                                        {"\\gt", ">"},
                                                                                        {"\u2264", "<="},
                                                                                        {"\u2265", ">="},
                                                                                        {"<", "<"},
                                                                                        {">", ">"},
                                                                                        {"=", "="}}};

/// One sign and its two sides; a chain of = states what its last part says.
std::optional<math_value> read_relation(std::string_view text, int depth) {
  std::vector<std::string_view> signs;
  for (const auto& [sign, plain] : relation_signs)
    signs.push_back(sign);
  const auto [at, sign] = next_mark(text, 0, signs);
  if (sign.empty())
    return std::nullopt;
  const auto behind = text.substr(at + sign.size());
  if (const auto next = next_mark(behind, 0, signs); !next.second.empty()) {
    const bool is_chain = sign == "=" && next.second == "=";
    return is_chain ? read_relation(behind, depth) : std::optional(math_value{.text = as_words(text)});
  }
  const auto known = std::find_if(relation_signs.begin(), relation_signs.end(),
                                  [&, found = sign](const auto& row) { return row.first == found; });
  return of_items(shape::relation, {trimmed(text.substr(0, at)), trimmed(behind)}, std::string(known->second), depth);
}

/// a \pm b: both.
math_value read_both_signs(std::string_view text, int depth) {
  const std::string plus = with(std::string(text), "\\pm", "+"), minus = with(std::string(text), "\\pm", "-");
  return of_items(shape::list, {plus, minus}, {}, depth);
}

/// @param text plain
math_value read_value(std::string_view text, int depth) {
  text = without_sentence_end(text);
  if (text.empty() || depth > most_nested)
    return {.text = as_words(text)};
  if (const auto member = next_mark(text, 0, {"\\in", "\u2208"}); !member.second.empty() && member.first < 12)
    return read_value(text.substr(member.first + member.second.size()), depth + 1);
  if (const auto parts = cut(text, {"\\cup", "\u222A"}, true); parts.size() > 1)
    return of_items(shape::joined, parts, {}, depth);
  if (text.starts_with("\\{") && text.ends_with("\\}") && is_enclosed(text.substr(1)))
    return of_items(shape::set, cut(trimmed(text.substr(2, text.size() - 4)), {",", ";"}, false), {}, depth);
  if ((text.front() == '(' || text.front() == '[') && is_enclosed(text)) {
    const auto inside = cut(text.substr(1, text.size() - 2), {",", ";"}, false);
    if (inside.size() > 1)
      return of_items(shape::row, inside, {text.front(), text.back()}, depth);
  }
  if (const auto parts = cut(text, {",", ";", " and ", " or "}, true); parts.size() > 1)
    return of_items(shape::list, parts, {}, depth);
  if (auto relation = read_relation(text, depth))
    return *std::move(relation);
  if (text.find("\\pm") != std::string_view::npos && text.find("\\pm") == text.rfind("\\pm"))
    return read_both_signs(text, depth);
  if (text.front() == '{' && is_enclosed(text))
    return read_value(text.substr(1, text.size() - 2), depth + 1);
  return read_single(text);
}

// ---- comparing

bool is_same(const math_value& a, const math_value& b);

bool contains(const std::vector<math_value>& all, const math_value& wanted) {
  return std::any_of(all.begin(), all.end(), [&](const math_value& one) { return is_same(one, wanted); });
}

/// Each member of one is in the other.
bool is_same_set(const math_value& a, const math_value& b) {
  return std::all_of(a.items.begin(), a.items.end(), [&](const math_value& one) { return contains(b.items, one); })
         && std::all_of(b.items.begin(), b.items.end(), [&](const math_value& one) { return contains(a.items, one); });
}

bool is_same_formula(const math_value& a, const math_value& b) {
  if (is_equal(*a.formula, *b.formula))
    return true;
  if (a.is_percent == b.is_percent)
    return false;
  const auto hundredth = expression::read("1/100 * (" + with(a.is_percent ? a.text : b.text, "%", "") + ")");
  return hundredth && is_equal(*hundredth, a.is_percent ? *b.formula : *a.formula);
}

bool is_same_pair(const math_value& a, const math_value& b) {
  const auto turned = [](std::string sign) {
    for (char& c : sign)
      c = c == '<' ? '>' : c == '>' ? '<' : c;
    return sign;
  };
  const auto& left = a.items;
  const auto& right = b.items;
  const bool all_formulas = left[0].formula && left[1].formula && right[0].formula && right[1].formula;
  if (!all_formulas)
    return a.marks == b.marks && is_same(left[0], right[0]) && is_same(left[1], right[1]);
  if (a.marks == b.marks
      && is_same_relation(*left[0].formula, *left[1].formula, *right[0].formula, *right[1].formula, a.marks != "="))
    return true;
  return a.marks == turned(b.marks)
         && is_same_relation(*left[0].formula, *left[1].formula, *right[1].formula, *right[0].formula, a.marks != "=");
}

/// `x = 5` states 5 where the other side says no name.
bool names_its_value(const math_value& a) {
  if (a.what != shape::relation || a.marks != "=")
    return false;
  const std::string_view left = a.items[0].text;
  return (a.items[0].formula && !a.items[0].formula->name().empty())
         || (left.size() <= 16 && !left.empty() && is_letter(left.front()) && left.find_first_of("+-*/^") == left.npos);
}

bool is_same(const math_value& a, const math_value& b) {
  if (a.what == shape::relation && b.what == shape::relation)
    return is_same_pair(a, b);
  if (names_its_value(a))
    return is_same(a.items[1], b);
  if (names_its_value(b))
    return is_same(a, b.items[1]);
  const auto is_unordered = [](const math_value& v) { return v.what == shape::set || v.what == shape::list; };
  if (is_unordered(a) && is_unordered(b))
    return is_same_set(a, b);
  if (a.what == shape::set && a.items.size() == 1 && b.what != shape::words)
    return is_same(a.items[0], b);
  if (b.what == shape::set && b.items.size() == 1 && a.what != shape::words)
    return is_same(a, b.items[0]);
  if (a.what != b.what)
    return false;
  switch (a.what) {
  case shape::formula:
    return is_same_formula(a, b);
  case shape::joined:
    return is_same_set(a, b);
  case shape::row:
    return a.marks == b.marks && a.items.size() == b.items.size()
           && std::equal(a.items.begin(), a.items.end(), b.items.begin(), is_same);
  default:
    return !a.text.empty() && a.text == b.text;
  }
}

/// Whether a part of it looks like a formula and is none that could be read.
bool is_unread(const math_value& v) {
  return v.what == shape::words ? v.text.find_first_of("0123456789\\^_+*/=<>|") != std::string::npos
                                : std::any_of(v.items.begin(), v.items.end(), is_unread);
}

// ---- matrices: read before the text is made plain, which drops their rows

std::optional<std::vector<std::vector<std::string>>> matrix_cells(std::string_view text) {
  text = without_sentence_end(text);
  const std::size_t begin = text.find("\\begin{"), name_end = text.find('}', begin);
  const std::size_t end = text.find("\\end{");
  if (begin == std::string_view::npos || name_end == std::string_view::npos || end == std::string_view::npos
      || end < name_end || text.substr(begin, name_end - begin).find("matrix") == std::string_view::npos)
    return std::nullopt;
  const std::string_view before = trimmed(text.substr(0, begin));
  if (text.find("\\begin{", begin + 1) != std::string_view::npos
      || !(before.empty() || before == "$" || before.ends_with('=')))
    return std::nullopt;
  std::vector<std::vector<std::string>> rows;
  for (const auto line : cut(text.substr(name_end + 1, end - name_end - 1), {"\\\\"}, false)) {
    if (line.empty())
      continue;
    auto& cells = rows.emplace_back();
    for (const auto cell : cut(line, {"&"}, false))
      cells.emplace_back(cell);
  }
  return rows;
}

std::string prepared(std::string_view text) {
  std::string plain = plain_math(text);
  for (const auto& [from, to] : {std::pair{"\u03C0", "\\pi "},
                                 {"\u221A", "\\sqrt "},
                                 {"\u221E", "\\infty "},
                                 {"\u00B1", "\\pm "},
                                 {"\\lbrace", "\\{"},
                                 {"\\rbrace", "\\}"},
                                 {"\\lvert", "|"},
                                 {"\\rvert", "|"},
                                 {"\\vert", "|"},
                                 {"\\mid", "|"}})
    plain = with(std::move(plain), from, to);
  return with_spaces_as(plain, " ");
}

/// Whether both are one number, and if so whether it is the same.
std::optional<bool> same_number(std::string_view left, std::string_view right) {
  if (left.find('=') != std::string_view::npos && right.find('=') != std::string_view::npos)
    return std::nullopt;
  const auto a = stated_in(left, number_place::whole, false), b = stated_in(right, number_place::whole, false);
  if (a.size() != 1 || b.size() != 1)
    return std::nullopt;
  const bool percent = left.find('%') != std::string_view::npos, other = right.find('%') != std::string_view::npos;
  return a == b
         || (percent != other
             && stated_in(left, number_place::whole, true) == stated_in(right, number_place::whole, true));
}

// ---- where a text states it

std::string last_box(std::string_view text) {
  const std::size_t boxed = text.rfind("\\boxed"), framed = text.rfind("\\fbox");
  if (boxed == std::string_view::npos && framed == std::string_view::npos)
    return {};
  std::size_t at = boxed != std::string_view::npos ? boxed + 6 : framed + 5;
  while (at < text.size() && text[at] == ' ')
    ++at;
  if (at >= text.size() || text[at] != '{')
    return std::string(text.substr(at, text.find_first_of(" $\n", at) - at));
  int depth = 0;
  for (std::size_t end = at; end < text.size(); ++end) {
    if (text[end] == '\\') {
      ++end;
      continue;
    }
    depth += text[end] == '{' ? 1 : text[end] == '}' ? -1 : 0;
    if (depth == 0)
      return std::string(text.substr(at + 1, end - at - 1));
  }
  return {};
}

std::string behind_hash_mark(std::string_view text) {
  const std::size_t at = text.rfind("####");
  if (at == std::string_view::npos)
    return {};
  const auto behind = trimmed(text.substr(at + 4));
  return std::string(trimmed(behind.substr(0, behind.find('\n'))));
}

/// Behind the last "answer is" or "answer:"; else the last $formula$; else the last number.
std::string last_statement(std::string_view text) {
  std::size_t begin = 0;
  for (const std::string_view words : {"nswer is:", "nswer is", "nswer:"})
    if (const std::size_t at = text.rfind(words); at != std::string_view::npos)
      begin = std::max(begin, at + words.size());
  if (begin > 0) {
    auto line = trimmed(text.substr(begin));
    line = line.substr(0, std::min(line.find('\n'), line.find(". ")));
    if (const std::string found(without_sentence_end(line)); !found.empty())
      return found;
  }
  if (const std::size_t end = text.rfind('$'); end != std::string_view::npos && end > 0)
    if (const std::size_t open = text.rfind('$', end - 1); open != std::string_view::npos && end - open > 1)
      return std::string(text.substr(open + 1, end - open - 1));
  return canonical(stated_in(text, number_place::last, false));
}

} // namespace

std::string stated_math(std::string_view text, math_place place) {
  const bool has_box = text.find("\\boxed") != std::string_view::npos || text.find("\\fbox") != std::string_view::npos;
  switch (place) {
  case math_place::whole:
    return std::string(trimmed(text));
  case math_place::boxed:
    return last_box(text);
  case math_place::hash:
    return behind_hash_mark(text);
  case math_place::any:
    break;
  }
  return has_box                                       ? last_box(text)
         : text.find("####") != std::string_view::npos ? behind_hash_mark(text)
                                                       : last_statement(text);
}

std::string expected_math(std::string_view text) {
  const bool marked = text.find("\\boxed") != std::string_view::npos || text.find("####") != std::string_view::npos;
  return stated_math(text, marked ? math_place::any : math_place::whole);
}

bool is_unread_math(std::string_view statement) {
  statement = trimmed(statement);
  if (statement.empty() || statement.size() > longest_compared)
    return false;
  if (const auto rows = matrix_cells(statement))
    return std::any_of(rows->begin(), rows->end(),
                       [](const auto& row) { return std::any_of(row.begin(), row.end(), is_unread_math); });
  return stated_in(statement, number_place::whole, false).size() != 1 && is_unread(read_value(prepared(statement), 0));
}

bool is_same_math(std::string_view left, std::string_view right) {
  left = trimmed(left);
  right = trimmed(right);
  if (left.empty() || right.empty() || left == right)
    return left == right && !left.empty();
  if (left.size() > longest_compared || right.size() > longest_compared)
    return false;
  const auto a = matrix_cells(left), b = matrix_cells(right);
  if (a || b)
    return a && b && std::equal(a->begin(), a->end(), b->begin(), b->end(), [](const auto& row, const auto& other) {
             return std::equal(row.begin(), row.end(), other.begin(), other.end(), is_same_math);
           });
  if (const auto decided = same_number(left, right))
    return *decided;
  return is_same(read_value(prepared(left), 0), read_value(prepared(right), 0));
}

} // namespace millrace::stated
