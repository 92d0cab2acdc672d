#include "runtime/rules/code_text.hpp"

#include <algorithm>
#include <optional>
#include <utility>

namespace millrace::rules {
namespace {

constexpr std::string_view fence = "```", thinking_end = "</think>";

/// What a block is indented by, as one in a list is.
std::size_t indent_of(std::string_view line) {
  return std::min(line.find_first_not_of(" \t"), line.size());
}

/// A line's fence, without the spaces before it: what stands after the backticks; nothing where it has none.
std::optional<std::string_view> fence_in(std::string_view line) {
  const auto begin = indent_of(line);
  if (!line.substr(begin).starts_with(fence))
    return std::nullopt;
  auto word = line.substr(begin + fence.size());
  while (!word.empty() && (word.back() == ' ' || word.back() == '\t' || word.back() == '\r'))
    word.remove_suffix(1);
  return word;
}

bool says_python(std::string_view word) {
  const auto name = word.substr(0, word.find_first_of(" \t{:"));
  return name == "python" || name == "python3" || name == "py" || name == "Python";
}

} // namespace

std::string program_in(std::string_view answer) {
  if (const auto end = answer.rfind(thinking_end); end != std::string_view::npos)
    answer.remove_prefix(end + thinking_end.size());
  std::optional<std::string> last, last_python;
  bool open = false, of_python = false;
  std::size_t indent = 0;
  std::string block;
  const auto close = [&] {
    (of_python ? last_python : last) = std::exchange(block, {});
    open = false;
  };
  for (std::size_t at = 0; at < answer.size();) {
    const auto end = std::min(answer.find('\n', at), answer.size() - 1) + 1;
    const auto line = answer.substr(at, end - at);
    const auto word = fence_in(line.substr(0, line.find('\n')));
    at = end;
    if (open && word && word->empty()) {
      close();
    } else if (word && !open) {
      open = true;
      of_python = says_python(*word);
      indent = indent_of(line);
    } else if (open) {
      block += line.substr(std::min(indent, indent_of(line)));
    }
  }
  if (open)
    close();
  return last_python ? *last_python : last.value_or("");
}

} // namespace millrace::rules
