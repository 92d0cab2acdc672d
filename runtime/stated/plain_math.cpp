#include "runtime/stated/plain_math.hpp"

#include "runtime/stated/characters.hpp"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <map>
#include <vector>

namespace millrace::stated {
namespace {

// ---- Unicode: one character at a time

constexpr utf8proc_int32_t fraction_slash = 0x2044;

void append_utf8(std::string& out, utf8proc_int32_t character) {
  std::array<utf8proc_uint8_t, 4> bytes{};
  const auto length = utf8proc_encode_char(character, bytes.data());
  out.append(reinterpret_cast<const char*>(bytes.data()), static_cast<std::size_t>(length));
}

/// Characters that the compatibility decomposition would lose or leave alone; nullptr for every other.
const char* one_spelling(utf8proc_int32_t character) {
  switch (character) {
  case 0x2010: // hyphens, dashes, the minus sign
  case 0x2011:
  case 0x2012:
  case 0x2013:
  case 0x2014:
  case 0x2212:
    return "-";
  case 0x00D7: // the signs of a product
  case 0x00B7:
  case 0x2217:
  case 0x22C5:
  case 0x2715:
    return "*";
  case 0x00F7:
  case 0x2215:
  case fraction_slash:
    return "/";
  case 0x2243:
  case 0x2245:
    return "\u2248";
  case 0x00BA:
  case 0x02DA:
    return "\u00B0";
  case 0x066B: // Arabic separators
    return ".";
  case 0x066C:
    return ",";
  case 0x3001:
    return ",";
  case 0x3002:
    return ".";
  case 0x2018:
  case 0x2019:
    return "'";
  case 0x201C:
  case 0x201D:
    return "\"";
  default:
    return nullptr;
  }
}

/// Superscripts begin '^', subscripts '_', everything else '\0'. `plain` is what the character means there.
char raised_or_lowered(utf8proc_int32_t character, char& plain) {
  if (character == 0xB9 || character == 0xB2 || character == 0xB3) {
    plain = character == 0xB9 ? '1' : character == 0xB2 ? '2' : '3';
    return '^';
  }
  if (character >= 0x2070 && character <= 0x208B) {
    constexpr std::string_view signs = "0???456789+-";
    const auto at = static_cast<std::size_t>(character & 0xF);
    plain = character >= 0x2080 && at <= 9 ? static_cast<char>('0' + at) : at < signs.size() ? signs[at] : '?';
    return plain == '?' ? '\0' : character >= 0x2080 ? '_' : '^';
  }
  return '\0';
}

/// 0 to 9 for a digit of any script, which stands in a row of ten from its zero on; -1 for every other character.
int digit_of(utf8proc_int32_t character) {
  if (utf8proc_category(character) != UTF8PROC_CATEGORY_ND)
    return -1;
  int value = 0;
  while (value < 9 && utf8proc_category(character - value - 1) == UTF8PROC_CATEGORY_ND)
    ++value;
  return value;
}

void append_decomposed(std::string& out, utf8proc_int32_t character) {
  std::array<utf8proc_int32_t, 32> parts{};
  int boundary = 0;
  const auto count = utf8proc_decompose_char(
      character, parts.data(), parts.size(),
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT | UTF8PROC_IGNORE), &boundary);
  if (count < 0 || count > static_cast<utf8proc_ssize_t>(parts.size()))
    return;
  const auto end = parts.begin() + count;
  const bool is_fraction = std::find(parts.begin(), end, fraction_slash) != end;
  if (is_fraction && !out.empty() && is_digit(out.back()))
    out += ' '; // 2 and a half in two characters
  for (auto at = parts.begin(); at != end; ++at) {
    if (const char* const plain = one_spelling(*at))
      out += plain;
    else
      append_utf8(out, *at);
  }
  if (is_fraction)
    out += ' ';
}

std::string without_unicode(std::string_view text) {
  std::string out;
  char open = '\0'; // inside a run of superscripts ('^') or subscripts ('_')
  for (std::size_t at = 0; at < text.size();) {
    utf8proc_int32_t character = 0;
    const auto length = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at,
                                         static_cast<utf8proc_ssize_t>(text.size() - at), &character);
    at += length > 0 ? static_cast<std::size_t>(length) : 1;
    if (length <= 0)
      continue; // no UTF-8: no part of a number
    char plain = '\0';
    const char place = character < 0x80 ? '\0' : raised_or_lowered(character, plain);
    if (open != '\0' && place != open)
      out += '}';
    if (place != '\0') {
      if (place != open)
        (out += place) += '{';
      out += plain;
    } else if (character < 0x80) {
      out += character == '\t' || character == '\r' || character == '\v' || character == '\f'
                 ? ' '
                 : static_cast<char>(character);
    } else if (const char* const known = one_spelling(character)) {
      out += known;
    } else if (const int digit = digit_of(character); digit >= 0) {
      out += static_cast<char>('0' + digit);
    } else if (utf8proc_category(character) == UTF8PROC_CATEGORY_SC) {
      out += '$';
    } else if (utf8proc_category(character) == UTF8PROC_CATEGORY_ZS) {
      out += ' ';
    } else {
      append_decomposed(out, character);
    }
    open = place;
  }
  return open == '\0' ? out : out + '}';
}

// ---- LaTeX and Markdown

enum class latex {
  space,    ///< a space
  nothing,  ///< nothing
  wrapper,  ///< its argument, behind a space
  argument, ///< it and its argument: a space
  styled,   ///< it and its first argument: a space; the second is kept
  words,    ///< other words in its place
};

struct latex_command {
  latex what;
  const char* words = "";
};

const std::map<std::string_view, latex_command>& latex_commands() {
  static const auto table = [] {
    std::map<std::string_view, latex_command> all;
    for (const char* name :
         {"quad",         "qquad",     "thinspace",   "medspace",    "thickspace", "enspace",    "space", "hfill",
          "newline",      "par",       "noindent",    "rm",          "bf",         "it",         "sf",    "tt",
          "displaystyle", "textstyle", "scriptstyle", "tiny",        "small",      "normalsize", "large", "Large",
          "LARGE",        "huge",      "Huge",        "boldmath",    "bfseries",   "therefore",  "strut", "mathstrut",
          "limits",       "nolimits",  "centering",   "nobreakspace"})
      all[name] = {latex::space};
    for (const char* name : {"left", "right", "big", "Big", "bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl",
                             "biggr", "negthinspace"})
      all[name] = {latex::nothing};
    for (const char* name :
         {"text",   "textbf", "textit", "textrm",    "textsf",     "texttt", "textnormal", "textup",       "mathrm",
          "mathbf", "mathit", "mathsf", "mathtt",    "mathnormal", "mbox",   "hbox",       "operatorname", "boldsymbol",
          "bm",     "pmb",    "emph",   "underline", "ensuremath", "mathop", "mathord"})
      all[name] = {latex::wrapper};
    for (const char* name : {"hspace", "vspace", "phantom", "hphantom", "vphantom", "label", "tag", "begin", "end",
                             "color", "ref", "eqref", "cite"})
      all[name] = {latex::argument};
    for (const char* name : {"textcolor", "colorbox"})
      all[name] = {latex::styled};
    for (const char* name : {"times", "cdot", "ast", "centerdot"})
      all[name] = {latex::words, "*"};
    for (const char* name : {"div", "over"})
      all[name] = {latex::words, "/"};
    for (const char* name : {"frac", "dfrac", "tfrac", "cfrac", "sfrac", "nicefrac"})
      all[name] = {latex::words, "\\frac"};
    for (const char* name : {"boxed", "fbox", "framebox"})
      all[name] = {latex::words, "\\boxed"};
    for (const char* name : {"approx", "simeq", "thickapprox", "cong"})
      all[name] = {latex::words, "\u2248"};
    for (const char* name : {"degree", "degrees", "textdegree"})
      all[name] = {latex::words, "\u00B0"};
    for (const char* name : {"ldots", "dots", "cdots", "dotsc", "textellipsis"})
      all[name] = {latex::words, "..."};
    for (const char* name : {"overline", "bar"})
      all[name] = {latex::words, "\\overline"};
    for (const char* name : {"euro", "pounds", "yen", "texteuro", "textsterling", "textdollar"})
      all[name] = {latex::words, "$"};
    all["Omega"] = {latex::words, " \u03A9"};
    all["percent"] = {latex::words, "%"};
    all["textminus"] = {latex::words, "-"};
    all["eq"] = {latex::words, "="};
    return all;
  }();
  return table;
}

/// Goes along a text free of Unicode's spellings and writes what it means.
class latex_reader {
public:
  explicit latex_reader(std::string_view text) : text_(text) {}

  std::string plain() {
    while (at_ < text_.size())
      switch (const char c = text_[at_]) {
      case '\\':
        take_command();
        break;
      case '^':
        take_power();
        break;
      case '{':
      case '}':
        take_brace(c);
        break;
      case '*':
      case '_':
      case '`':
        take_mark(c);
        break;
      case '$':
        put_space();
        ++at_;
        break;
      default:
        out_ += c == '~' || c == '&' ? ' ' : c;
        ++at_;
      }
    return std::move(out_);
  }

private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  char last() const { return out_.empty() ? '\0' : out_.back(); }

  /// A delimiter or a currency sign: between a sign and its number it is nothing.
  void put_space() {
    if (last() != '-' && last() != '+')
      out_ += ' ';
  }

  /// Behind `at_` and blanks, the end of a group in braces; 0 if none begins there, or ends within a line's length.
  std::size_t group_end(std::size_t at) const {
    constexpr std::size_t longest_group = 200;
    while (at < text_.size() && text_[at] == ' ')
      ++at;
    if (at >= text_.size() || text_[at] != '{')
      return 0;
    int depth = 0;
    for (const std::size_t begin = at; at < text_.size() && at - begin < longest_group; ++at) {
      depth += text_[at] == '{' ? 1 : text_[at] == '}' ? -1 : 0;
      if (depth == 0)
        return at + 1;
    }
    return 0;
  }

  void take_command() {
    if (!is_letter(peek(1))) {
      take_symbol(peek(1));
      at_ = std::min(at_ + 2, text_.size());
      return;
    }
    std::size_t end = at_ + 1;
    while (end < text_.size() && is_letter(text_[end]))
      ++end;
    const auto name = text_.substr(at_ + 1, end - at_ - 1);
    const auto known = latex_commands().find(name);
    at_ = end;
    if (known == latex_commands().end()) {
      (out_ += '\\') += name;
      return;
    }
    take_known(known->second);
  }

  void take_known(const latex_command& command) {
    switch (command.what) {
    case latex::space:
      out_ += ' ';
      break;
    case latex::nothing:
      break;
    case latex::wrapper:
      out_ += ' ';
      while (peek() == ' ')
        ++at_;
      if (peek() == '{') {
        kept_.push_back(false);
        ++at_;
      }
      break;
    case latex::argument:
    case latex::styled:
      out_ += ' ';
      if (peek() == '*')
        ++at_;
      if (const std::size_t end = group_end(at_); end != 0)
        at_ = end;
      if (command.what == latex::styled && peek() == '{') {
        kept_.push_back(false);
        ++at_;
      }
      break;
    case latex::words:
      if (command.words == std::string_view("$"))
        put_space();
      else
        out_ += command.words;
      break;
    }
  }

  /// A backslash before something that is no letter.
  void take_symbol(char symbol) {
    switch (symbol) {
    case ',':
    case ':':
    case ';':
    case ' ':
    case '\n':
      out_ += ' ';
      break;
    case '\\':
      out_ += '\n';
      break;
    case '$':
    case '(':
    case ')':
    case '[':
    case ']':
      put_space();
      break;
    case '!':
    case '-':
    case '/':
    case '\0':
      break;
    case '{':
    case '}':
      (out_ += '\\') += symbol;
      break;
    default:
      out_ += symbol;
    }
  }

  /// `^`, unless it raises a circle: that is a degree.
  void take_power() {
    ++at_;
    for (const std::string_view circle :
         {"\\circ", "{\\circ}", " \\circ", "{ \\circ }", "\u00B0", "{\u00B0}", "{\\degree}"})
      if (text_.substr(at_).starts_with(circle) && !(circle.back() == 'c' && is_letter(peek(circle.size())))) {
        out_ += "\u00B0";
        at_ += circle.size();
        return;
      }
    out_ += '^';
  }

  void take_brace(char brace) {
    if (brace == '}') {
      const bool keep = kept_.empty() || kept_.back();
      if (!kept_.empty())
        kept_.pop_back();
      ++at_;
      if (keep)
        out_ += '}';
      else if (peek() != '^')
        out_ += ' ';
      return;
    }
    std::size_t behind = at_ + 1;
    while (behind < text_.size() && text_[behind] == ' ')
      ++behind;
    if (behind < text_.size() && text_[behind] == '}') {
      at_ = behind + 1;
    } else if (text_.substr(at_).starts_with("{,}")) {
      const auto digits = text_.substr(at_ + 3, 4);
      const auto count =
          static_cast<std::size_t>(std::find_if_not(digits.begin(), digits.end(), is_digit) - digits.begin());
      out_ += count == 0 || count == 3 ? ',' : '.';
      at_ += 3;
    } else {
      kept_.push_back(true);
      out_ += '{';
      ++at_;
    }
  }

  /// `*`, `_` and the backtick: signs of Markdown, or a product, a power, an index, a thousands separator.
  void take_mark(char mark) {
    std::size_t count = 1;
    while (peek(count) == mark)
      ++count;
    const char before = last_of_line(), behind = behind_blanks(count);
    const bool value_before = is_digit(before) || before == ')' || before == '}';
    const bool value_behind = is_digit(behind) || behind == '(' || behind == '{' || behind == '\\';
    at_ += count;
    if (mark == '*' && count == 2 && value_before && last() != ' ' && value_behind)
      out_ += '^';
    else if (mark == '*' && count == 1 && (value_before || is_letter(before))
             && (value_behind || is_letter(behind) || behind == '-'))
      out_ += '*';
    else if (mark == '_' && count == 1 && (is_letter(last()) || is_digit(last()) || last() == ')' || last() == '}'))
      out_ += '_';
  }

  /// The last that was written but a few blanks.
  char last_of_line() const {
    const std::string_view end = std::string_view(out_).substr(out_.size() - std::min(out_.size(), most_blanks));
    const std::size_t at = end.find_last_not_of(' ');
    return at == std::string_view::npos ? '\0' : end[at];
  }

  /// The next to come but a few blanks.
  char behind_blanks(std::size_t ahead) const {
    const std::string_view begin = text_.substr(std::min(at_ + ahead, text_.size()), most_blanks);
    const std::size_t at = begin.find_first_not_of(' ');
    return at == std::string_view::npos ? '\0' : begin[at];
  }

  static constexpr std::size_t most_blanks = 64; ///< looked across, so that a text of blanks takes no long time

  std::string_view text_;
  std::size_t at_ = 0;
  std::string out_;
  std::vector<bool> kept_; ///< for each open brace, whether it was written
};

} // namespace

std::string plain_math(std::string_view text) {
  const std::string ascii = without_unicode(text);
  return latex_reader(ascii).plain();
}

} // namespace millrace::stated
