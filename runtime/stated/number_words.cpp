#include "runtime/stated/number_words.hpp"

#include "runtime/stated/characters.hpp"

#include <algorithm>
#include <set>
#include <string>

namespace millrace::stated {
namespace {

using word_set = std::set<std::string, std::less<>>;

std::string in_lower_case(std::string_view word) {
  std::string out(word);
  for (char& c : out)
    c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return out;
}

bool holds(const word_set& all, std::string_view word) {
  return all.contains(in_lower_case(word));
}

/// Before a number or behind it, these make another number of it, or several, or none.
bool changes_meaning(std::string_view word) {
  static const word_set all{
      "or",      "nor",      "not",    "no",       "none",   "never",      "neither",  "than",      "least",  "most",
      "more",    "less",     "fewer",  "greater",  "larger", "smaller",    "between",  "if",        "unless", "except",
      "without", "until",    "plus",   "minus",    "below",  "above",      "under",    "over",      "up",     "half",
      "mod",     "modulo",   "nearly", "almost",   "close",  "impossible", "infinity", "undefined", "wrong",  "false",
      "range",   "interval", "power",  "negative", "i",      "incorrect"};
  return holds(all, word) || is_function(word);
}

/// Behind a number, these continue it: "2 thirds", "5 and a quarter", "101 in base two".
bool continues_number(std::string_view word) {
  static const word_set all{"to",     "zero",    "halves", "third",     "thirds",   "quarter",  "quarters",
                            "fourth", "fourths", "fifth",  "fifths",    "sixths",   "sevenths", "eighths",
                            "ninths", "tenths",  "dozen",  "base",      "squared",  "cubed",    "hundredths",
                            "one",    "two",     "three",  "four",      "five",     "six",      "seven",
                            "eight",  "nine",    "ten",    "factorial", "positive", "infinite", "thousandths"};
  return holds(all, word);
}

bool is_little_word(std::string_view word) {
  static const word_set all{"of", "in", "is", "as", "so", "at", "by", "on", "an", "it", "we", "and", "a", "be", "my"};
  return holds(all, word);
}

bool has_vowel(std::string_view word) {
  return std::any_of(word.begin(), word.end(), [](char c) {
    return std::string_view("aeiouyAEIOUY").find(c) != std::string_view::npos || !is_letter(c);
  });
}

/// A letter of any script but Greek, whose letters are variables and constants; a byte of UTF-8 counts as one.
bool is_word_byte(std::string_view text, std::size_t at) {
  const auto byte = static_cast<unsigned char>(text[at]);
  return is_letter(text[at]) || byte >= 0x80;
}

bool is_greek_or_sign(std::string_view word) {
  // Greek stands in two blocks of two bytes, mathematical signs and arrows in U+2190 to U+2BFF.
  for (std::size_t at = 0; at + 1 < word.size(); ++at) {
    const auto first = static_cast<unsigned char>(word[at]), second = static_cast<unsigned char>(word[at + 1]);
    if ((first == 0xE2 && second >= 0x86 && second <= 0xAF) || first == 0xC2)
      return word != "\u00B0";
    if ((first == 0xCD || first == 0xCE || first == 0xCF) && word.size() <= 3)
      return !is_unit(word);
  }
  return false;
}

/// One after the other the words of a phrase, and what stands between them.
struct phrase_reader {
  std::string_view text;
  std::size_t at = 0;

  std::string_view word() {
    const std::size_t begin = at;
    while (at < text.size() && is_word_byte(text, at))
      ++at;
    return text.substr(begin, at - begin);
  }

  /// `^2`, `^{-1}`, or the 2 of `cm2`.
  bool take_exponent(std::string_view unit) {
    static const word_set lengths{"mm", "cm", "dm", "m", "km", "ft", "in", "yd", "mi"};
    std::size_t next = at;
    const bool raised = next < text.size() && text[next] == '^';
    if (!raised && !holds(lengths, unit))
      return false;
    next += raised;
    const bool braces = raised && next < text.size() && text[next] == '{';
    next += braces;
    while (braces && next < text.size() && text[next] == ' ')
      ++next;
    next += raised && next < text.size() && text[next] == '-';
    if (next >= text.size() || text[next] < '1' || text[next] > '9' || (!raised && text[next] > '3'))
      return false;
    ++next;
    if (next < text.size() && is_digit(text[next]))
      return false;
    while (braces && next < text.size() && text[next] == ' ')
      ++next;
    if (braces && (next >= text.size() || text[next++] != '}'))
      return false;
    at = next;
    return true;
  }
};

/// Where a word stands behind a number.
struct word_place {
  bool first = true;   ///< right behind the number, behind another unit or a slash: a letter may be a unit
  bool joined = false; ///< with nothing between
};

bool may_follow(std::string_view word, word_place place) {
  if (changes_meaning(word) || continues_number(word) || is_greek_or_sign(word))
    return false;
  if (is_unit(word) || is_little_word(word))
    return true;
  if (word.size() == 1)
    return place.first && is_unit_letter(word.front(), place.joined);
  return word.size() > 2 && has_vowel(word);
}

} // namespace

bool is_unit(std::string_view word) {
  static const word_set all{"mm",      "cm",      "dm",      "km",  "nm", "ft",  "yd",  "mi",     "mg",      "kg",
                            "lb",      "lbs",     "oz",      "ml",  "cl", "dl",  "kl",  "hr",     "hrs",     "min",
                            "mins",    "sec",     "secs",    "ms",  "ns", "us",  "yr",  "yrs",    "mph",     "kph",
                            "kmh",     "fps",     "rpm",     "bpm", "hz", "khz", "mhz", "ghz",    "kw",      "mw",
                            "kwh",     "kv",      "mv",      "ma",  "kb", "mb",  "gb",  "tb",     "pa",      "kpa",
                            "mol",     "deg",     "rad",     "am",  "pm", "st",  "nd",  "rd",     "th",      "pts",
                            "pt",      "km/h",    "cc",      "sq",  "cu", "in",  "kn",  "\u03A9", "k\u03A9", "kj",
                            "\u03BCm", "\u03BCs", "\u03BCg", "ev",  "db", "ha",  "cts", "ct",     "pcs"};
  return holds(all, word);
}

bool is_unit_letter(char letter, bool joined) {
  return std::string_view(joined ? "mgshLl" : "mgshLlVWNJKCFA").find(letter) != std::string_view::npos;
}

bool only_measures(std::string_view phrase) {
  phrase_reader in{phrase};
  bool first = true;
  while (in.at < phrase.size()) {
    const char c = phrase[in.at];
    if (is_word_byte(phrase, in.at)) {
      const bool joined = in.at == 0;
      const auto word = in.word();
      if (word == "\u00B0") {
        first = true; // a C or an F may follow
        continue;
      }
      const std::string_view unit = word.starts_with("\u00B0") ? word.substr(2) : word;
      if (!may_follow(unit, {.first = first || word != unit, .joined = joined && word == unit}))
        return false;
      in.take_exponent(unit);
      first = unit.size() == 1 || is_unit(unit);
      continue;
    }
    const bool between_words =
        in.at > 0 && in.at + 1 < phrase.size() && phrase[in.at - 1] != ' ' && is_word_byte(phrase, in.at + 1);
    const char next = in.at + 1 < phrase.size() ? phrase[in.at + 1] : '\0';
    if (c == '/' || (c == '*' && in.at > 0))
      first = true;
    else if (c == '-' ? !between_words
                      : std::string_view(" \n,;:()'\"").find(c) == std::string_view::npos && (c != '.' || next == '.'))
      return false;
    ++in.at;
  }
  return true;
}

bool only_introduces(std::string_view phrase) {
  phrase_reader in{phrase};
  while (in.at < phrase.size()) {
    const char c = phrase[in.at];
    if (is_word_byte(phrase, in.at)) {
      const auto word = in.word();
      if (changes_meaning(word) || is_greek_or_sign(word) || (word.size() == 1 && word != "a" && word != "A"))
        return false;
      continue;
    }
    if (std::string_view(" ,:'\"-").find(c) == std::string_view::npos)
      return false;
    ++in.at;
  }
  const std::size_t end = phrase.find_last_not_of(' ');
  return end == std::string_view::npos || phrase[end] != '-';
}

bool is_function(std::string_view word) {
  static const word_set all{"sqrt",  "cbrt",   "root",   "log",  "ln",   "lg",   "exp",    "sin",    "cos",
                            "tan",   "cot",    "csc",    "asin", "acos", "atan", "arcsin", "arccos", "arctan",
                            "binom", "dbinom", "tbinom", "gcd",  "lcm",  "max",  "floor",  "ceil",   "abs",
                            "frac",  "pi",     "infty",  "mod",  "pmod", "bmod"};
  return holds(all, word);
}

bool changes_number_before(std::string_view word) {
  static const word_set all{"squared", "cubed",  "factorial", "pi",     "sqrt",
                            "halves",  "thirds", "fourths",   "fifths", "dozen"};
  return holds(all, word);
}

bool states(std::string_view word) {
  static const word_set all{"is", "are", "was", "be", "equals", "equal", "get", "gets", "gives", "got"};
  return holds(all, word);
}

int zeros_of(std::string_view word) {
  std::string lower = in_lower_case(word);
  if (lower.ends_with("s"))
    lower.pop_back();
  return lower == "hundred"    ? 2
         : lower == "thousand" ? 3
         : lower == "million"  ? 6
         : lower == "billion"  ? 9
         : lower == "trillion" ? 12
                               : 0;
}

} // namespace millrace::stated
