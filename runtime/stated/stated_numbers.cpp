#include "runtime/stated/stated_numbers.hpp"

#include "runtime/stated/characters.hpp"
#include "runtime/stated/last_number.hpp"
#include "runtime/stated/number_reader.hpp"
#include "runtime/stated/number_words.hpp"
#include "runtime/stated/plain_math.hpp"

#include <algorithm>
#include <optional>

namespace millrace::stated {
namespace {

constexpr std::string_view hash_mark = "####";
constexpr std::string_view box_command = "\\boxed";
constexpr std::string_view nearly = "\u2248";
constexpr std::size_t most_stated = 64;         ///< numbers in a row
constexpr std::size_t longest_statement = 1024; ///< bytes; so much nesting fits on a stack

enum class words_before { refused, allowed };

/// `text` without the blanks, quotes, and signs of the end of a sentence around it.
std::string_view without_ends(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \n\"'");
  if (first == std::string_view::npos)
    return {};
  text = text.substr(first, text.find_last_not_of(" \n\"',;:") - first + 1);
  if (text.ends_with('.') && !text.ends_with(".."))
    text.remove_suffix(1);
  return text.substr(0, text.find_last_not_of(" \n\"'") + 1);
}

/// Where one of `marks` stands outside all brackets, from `from` on; the text's size if nowhere. A closing bracket may
/// be a mark: one that closes nothing.
std::size_t find_outside(std::string_view text, std::string_view marks, std::size_t from = 0) {
  int depth = 0;
  for (std::size_t at = from; at < text.size(); ++at) {
    const char c = text[at];
    const bool closes = c == ')' || c == ']' || c == '}';
    if (closes && depth > 0)
      --depth;
    else if (depth == 0 && marks.find(c) != std::string_view::npos)
      return at;
    depth += c == '(' || c == '[' || c == '{';
  }
  return text.size();
}

/// What stands between brackets that enclose all of `text`; nothing if none do.
std::optional<std::string_view> enclosed(std::string_view text) {
  if (text.size() < 2 || !((text.front() == '{' && text.back() == '}') || (text.front() == '(' && text.back() == ')')))
    return std::nullopt;
  const auto inside = text.substr(1, text.size() - 2);
  return find_outside(inside, ")}") == inside.size() ? std::optional(inside) : std::nullopt;
}

/// The last word and number of a phrase apart: where the number begins that ends what words introduce.
std::size_t number_begin(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()
         && (is_letter(text[at]) || static_cast<unsigned char>(text[at]) >= 0x80
             || std::string_view(" ,:'\"").find(text[at]) != std::string_view::npos))
    ++at;
  return at;
}

/// Whether the words before `begin` leave the number there what it is. "COVID-19" and "answer - 5" do not say whose the
/// sign is.
bool introduces(std::string_view text, std::size_t begin) {
  const auto phrase = text.substr(0, begin);
  const bool signs = begin < text.size() && (text[begin] == '-' || text[begin] == '+');
  if (signs && !phrase.empty() && phrase.back() != ' ' && phrase.back() != ':')
    return false;
  const std::size_t end = phrase.find_last_not_of(' ');
  if (signs && text.substr(begin + 1).starts_with(' ') && end != std::string_view::npos && phrase[end] != ':') {
    const std::size_t word = phrase.find_last_not_of("abcdefghijklmnopqrstuvwxyz", end) + 1;
    return states(phrase.substr(word, end + 1 - word)) && only_introduces(phrase);
  }
  return only_introduces(phrase);
}

std::optional<exact_number> single(std::string_view text, words_before words, bool hundredth);

/// One number and what measures it, perhaps within brackets or a box.
std::optional<exact_number> measured(std::string_view text, words_before words, bool hundredth) {
  text = without_ends(text);
  if (words == words_before::allowed)
    if (const std::size_t begin = number_begin(text); introduces(text, begin))
      text.remove_prefix(begin);
  if (text.starts_with(box_command))
    text = without_ends(text.substr(box_command.size()));
  const auto found = number_at_start(text, hundredth);
  if (found.value && only_measures(text.substr(found.length)))
    return found.value;
  const auto inside = enclosed(text);
  return inside ? single(*inside, words, hundredth) : std::nullopt;
}

/// Whether a part of an equation says less than that it equals the others.
bool relates_otherwise(std::string_view part) {
  for (const std::string_view sign : {"<", ">", "!", "\\le", "\\ge", "\\ne", "\\lt", "\\gt", "\\not", "\\pm", "\\mp",
                                      "\\in", "\\to", "\u2264", "\u2265", "\u2260", "\u00B1", "\u2208", "\u2192"})
    if (part.find(sign) != std::string_view::npos)
      return true;
  return false;
}

/// A name that an equation gives its number: x, x_1, f(2), n, AB, \angle A.
bool is_name(std::string_view part) {
  part = without_ends(part);
  const bool begins =
      !part.empty()
      && (is_letter(part.front()) || part.front() == '\\' || static_cast<unsigned char>(part.front()) >= 0x80);
  const bool goes_on = part.find(" or ") != std::string_view::npos || part.find(" and ") != std::string_view::npos;
  return begins && !goes_on && part.size() <= 64 && part.find_first_of("+-*/^<>!=,;") == std::string_view::npos;
}

/// Where the next separator of a list stands, and how long it is: a comma, a semicolon, a line's end, `and`, `or`.
std::pair<std::size_t, std::size_t> separator_from(std::string_view text, std::size_t from) {
  const std::size_t comma = find_outside(text, ",;\n", from);
  std::pair<std::size_t, std::size_t> first{comma, comma < text.size() ? 1 : 0};
  for (const std::string_view word : {" and ", " or "})
    if (const std::size_t at = text.find(word, from); at < first.first)
      first = {at, word.size()};
  return first;
}

/// One number as people state it: alone, or in an equation with a name or an expression. In a chain of equations the
/// last number counts, and no other may differ; before the sign of an approximation stands the exact one.
std::optional<exact_number> single(std::string_view text, words_before words, bool hundredth) {
  if (const std::size_t about = text.find(nearly); about != std::string_view::npos) {
    const auto exact = about > 0 ? single(text.substr(0, about), words, hundredth) : std::nullopt;
    const auto behind = text.substr(about + nearly.size());
    if (relates_otherwise(text.substr(0, about)))
      return std::nullopt;
    return exact                                           ? exact
           : behind.find(nearly) == std::string_view::npos ? measured(behind, words, hundredth)
                                                           : std::nullopt;
  }
  std::size_t sign = find_outside(text, "=");
  if (sign == text.size())
    return measured(text, words, hundredth);
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0; parts.size() < most_stated; begin = sign + 1) {
    sign = find_outside(text, "=", begin);
    parts.push_back(text.substr(begin, sign - begin));
    if (sign == text.size())
      break;
  }
  if (sign < text.size()) // a longer chain than anybody writes
    return std::nullopt;
  std::optional<exact_number> found;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const bool is_last = i + 1 == parts.size();
    if (relates_otherwise(parts[i]) || (!is_last && separator_from(without_ends(parts[i]), 0).second > 0))
      return std::nullopt;
    const auto value = measured(parts[i], words_before::refused, hundredth);
    if (value && found && *value != *found)
      return std::nullopt;
    if (value)
      found = value;
    else if (is_last && !(found && is_name(parts[i])))
      return std::nullopt;
  }
  return found;
}

/// Several numbers in a row; nothing if one of them cannot be read.
stated_numbers several(std::string_view text, bool hundredth) {
  stated_numbers found;
  for (std::size_t at = 0; at <= text.size() && found.size() < most_stated;) {
    // A comma within a number separates nothing: the number is read first.
    std::size_t inside = find_outside(text, "=", at);
    const std::size_t next = separator_from(text, at).first;
    inside = inside < next ? inside + 1 : at;
    while (inside < text.size() && text[inside] == ' ')
      ++inside;
    const std::size_t number = number_at_start(text.substr(inside), hundredth).length;
    const auto [end, length] = separator_from(text, number > 0 ? inside + number : at);
    const auto item = text.substr(at, end - at);
    if (at == 0 || length <= 1 || !without_ends(item).empty()) { // nothing stands between the two of ", and"
      const auto value = single(item, words_before::refused, hundredth);
      if (!value)
        return {};
      found.push_back(*value);
    }
    if (end == text.size())
      return found;
    at = end + length;
  }
  return {};
}

/// What a text states that is a statement as a whole.
stated_numbers whole_of(std::string_view text, words_before words, bool hundredth) {
  text = without_ends(text);
  if (text.empty() || text.size() > longest_statement)
    return {};
  if (text.starts_with(box_command))
    if (const auto inside = enclosed(without_ends(text.substr(box_command.size()))))
      return whole_of(*inside, words, hundredth);
  if (const auto value = single(text, words, hundredth))
    return {*value};
  const auto found = several(text, hundredth);
  return found.size() > 1 ? found : stated_numbers{};
}

/// The boxes of a text, met one after the other; the last counts that is in no other one.
struct box_reader {
  std::string_view text;
  std::size_t at = 0;
  bool exists = false;                ///< a box is begun, closed or not
  std::string_view inside = {};       ///< of the last that is closed
  std::size_t end = 0;                ///< of that one
  std::vector<std::size_t> open = {}; ///< where each open brace's box begins; 0 for one that is no box's

  void read() {
    while (at < text.size())
      if (text.substr(at).starts_with(box_command))
        begin_box();
      else
        pass();
    for (const std::size_t begin : open)
      if (begin > end)
        inside = {};
  }

  /// Without braces, a box reaches to the next blank.
  void begin_box() {
    exists = true;
    at += box_command.size();
    while (at < text.size() && text[at] == ' ')
      ++at;
    if (at < text.size() && text[at] == '{') {
      open.push_back(++at);
      return;
    }
    const std::size_t begin = at;
    at = end = find_outside(text, " \n)]}", at);
    inside = text.substr(begin, end - begin);
  }

  void pass() {
    const char c = text[at];
    if (c == '{') {
      open.push_back(0);
    } else if (c == '}' && !open.empty()) {
      if (open.back() > 0) {
        inside = text.substr(open.back(), at - open.back());
        end = at;
      }
      open.pop_back();
    }
    at += c == '\\' ? 2 : 1;
  }
};

/// What the last box of a text states; nothing where it has none.
std::optional<stated_numbers> boxed_in(std::string_view text, bool hundredth) {
  box_reader boxes{.text = text};
  boxes.read();
  return boxes.exists ? std::optional(whole_of(boxes.inside, words_before::allowed, hundredth)) : std::nullopt;
}

/// The statement that the line behind a #### begins with: the line, or what stands before its first further sentence.
stated_numbers line_of(std::string_view line, bool hundredth) {
  const auto begins_with_answer = [&] {
    const auto words = line.substr(0, number_begin(line));
    return words.find("nswer") != std::string_view::npos;
  };
  const auto words = begins_with_answer() ? words_before::allowed : words_before::refused;
  if (auto found = whole_of(line, words, hundredth); !found.empty())
    return found;
  std::size_t end = line.size();
  for (const std::string_view stop : {". ", "; ", " (", " because ", " since ", " as "})
    end = std::min(end, line.find(stop));
  return end < line.size() ? whole_of(line.substr(0, end), words, hundredth) : stated_numbers{};
}

/// Goes back over headings ("#### Remarks") to the mark that a statement follows.
stated_numbers behind_hash(std::string_view text, bool hundredth) {
  for (std::size_t at = text.rfind(hash_mark), tries = 0; at != std::string_view::npos && tries < most_stated;
       ++tries) {
    std::size_t begin = at + hash_mark.size();
    while (begin < text.size() && (text[begin] == ' ' || text[begin] == '\n'))
      ++begin;
    const auto line =
        text.substr(begin, std::min({text.find('\n', begin), text.find(hash_mark, begin), text.size()}) - begin);
    if (auto found = line_of(line, hundredth); !found.empty())
      return found;
    const bool is_heading =
        line.empty() || (is_letter(line.front()) && line.find_first_of("<=>") == std::string_view::npos);
    if (!is_heading || at == 0)
      return {};
    at = text.rfind(hash_mark, at - 1);
  }
  return {};
}

} // namespace

stated_numbers stated_in(std::string_view text, number_place place, bool percent_is_hundredth) {
  const std::string plain = plain_math(text);
  if (place == number_place::whole)
    return whole_of(plain, words_before::refused, percent_is_hundredth);
  if (place == number_place::hash)
    return behind_hash(plain, percent_is_hundredth);
  if (const auto boxed = boxed_in(plain, percent_is_hundredth); boxed || place == number_place::boxed)
    return boxed.value_or(stated_numbers{});
  const auto last = last_number(plain, percent_is_hundredth);
  return last ? stated_numbers{*last} : stated_numbers{};
}

stated_numbers expected_in(std::string_view text, bool percent_is_hundredth) {
  const std::string plain = plain_math(text);
  if (plain.find(hash_mark) != std::string::npos)
    return behind_hash(plain, percent_is_hundredth);
  if (const auto boxed = boxed_in(plain, percent_is_hundredth))
    return *boxed;
  return whole_of(plain, words_before::allowed, percent_is_hundredth);
}

std::string canonical(const stated_numbers& numbers) {
  std::string out;
  for (const auto& number : numbers)
    out += (out.empty() ? "" : ", ") + number.canonical();
  return out;
}

} // namespace millrace::stated
