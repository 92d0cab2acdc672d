#include "tests/support/long_functions.hpp"

#include <algorithm>
#include <cctype>
#include <regex>

namespace millrace::tests {
namespace {

bool is_word(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
}

/// Where the comment, literal or directive that starts at `at` ends; `at` itself if code starts there.
std::size_t end_of_blank(std::string_view source, std::size_t at, bool line_start) {
  const auto after = [&](std::string_view end, std::size_t from) {
    const auto found = source.find(end, from);
    return found == std::string_view::npos ? source.size() : found + end.size();
  };
  const auto rest = source.substr(at);
  if (line_start && rest.starts_with('#')) {
    auto end = source.find('\n', at);
    while (end != std::string_view::npos && source[end - 1] == '\\')
      end = source.find('\n', end + 1);
    return std::min(end, source.size());
  }
  if (rest.starts_with("//"))
    return std::min(source.find('\n', at), source.size());
  if (rest.starts_with("/*"))
    return after("*/", at + 2);
  if (rest.starts_with("R\"")) {
    const auto open = source.find('(', at);
    return after(")" + std::string(source.substr(at + 2, open - at - 2)) + "\"", open);
  }
  const char quote = source[at];
  if (quote != '"' && (quote != '\'' || (at > 0 && is_word(source[at - 1])))) // 1'000 is a number
    return at;
  auto end = at + 1;
  while (end < source.size() && source[end] != quote)
    end += source[end] == '\\' ? 2 : 1;
  return std::min(end + 1, source.size());
}

/// The place of the brace that closes the one at `open`.
std::size_t closing(std::string_view code, std::size_t open) {
  int depth = 0;
  for (std::size_t at = open; at < code.size(); ++at) {
    depth += code[at] == '{' ? 1 : code[at] == '}' ? -1 : 0;
    if (depth == 0)
      return at;
  }
  return code.size() - 1;
}

enum class brace { scope, body, value };

/// What an opening brace at namespace or class scope begins. @param head the code since the statement began
brace kind_of(std::string head) {
  static const std::regex templates("template <[^\n]*\n"), parentheses("\\([^()]*\\)"),
      scopes("\\b(namespace|class|struct|union|enum|extern)\\b"), operators("operator *[=<>!+*/%^&|-]+");
  if (head.empty() || head.back() != ' ')
    return head.find_first_not_of(" \n") == std::string::npos ? brace::scope : brace::value;
  head = std::regex_replace(head, templates, "");
  head = std::regex_replace(head, operators, "operator");
  const bool has_parentheses = head.find('(') != std::string::npos;
  for (std::string before; before != head;) {
    before = head;
    head = std::regex_replace(head, parentheses, " ");
  }
  if (head.find('=') != std::string::npos)
    return brace::value;
  return has_parentheses ? brace::body : std::regex_search(head, scopes) ? brace::scope : brace::value;
}

std::string first_line(std::string_view source, std::string_view code, std::size_t begin, std::size_t open) {
  while (begin < open && std::isspace(static_cast<unsigned char>(code[begin])) != 0)
    ++begin;
  std::string name(source.substr(begin, std::min(source.find('\n', begin), open) - begin));
  while (!name.empty() && name.back() == ' ')
    name.pop_back();
  return name;
}

} // namespace

std::string only_code(std::string_view source) {
  std::string code(source);
  bool line_start = true;
  for (std::size_t at = 0; at < source.size();) {
    const auto end = end_of_blank(source, at, line_start);
    for (auto i = at; i < end; ++i)
      if (code[i] != '\n')
        code[i] = ' ';
    line_start = source[at] == '\n' || (line_start && end == at && source[at] == ' ');
    at = std::max(end, at + 1);
  }
  return code;
}

std::vector<function_length> functions_in(std::string_view source) {
  const std::string code = only_code(source);
  const auto line_of = [&](std::size_t at) {
    return static_cast<int>(std::count(code.begin(), code.begin() + static_cast<std::ptrdiff_t>(at), '\n')) + 1;
  };
  std::vector<function_length> found;
  std::size_t begin = 0; // of the statement
  for (std::size_t at = 0; at < code.size(); ++at) {
    if (code[at] == ';' || code[at] == '}') {
      begin = at + 1;
    } else if (code[at] == '{') {
      const auto kind = kind_of(code.substr(begin, at - begin));
      if (kind == brace::scope) {
        begin = at + 1;
        continue;
      }
      const auto end = closing(code, at);
      if (kind == brace::body) {
        found.push_back({first_line(source, code, begin, at), line_of(at), line_of(end) - line_of(at) + 1});
        begin = end + 1;
      }
      at = end;
    }
  }
  return found;
}

} // namespace millrace::tests
