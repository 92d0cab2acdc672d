#include "runtime/text/template_skeleton.hpp"

namespace millrace::text {
namespace {

constexpr char string_mark = '\x01'; // stands around every string of the canonical text
constexpr char hole = '\x02';
constexpr std::size_t longest_system = 4096; // bytes of a default system line

bool is_space(char c) {
  return c == ' ' || (c >= '\t' && c <= '\r');
}

bool is_word(char c) {
  return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_'
         || static_cast<unsigned char>(c) >= 0x80;
}

/// The string that begins with the quote at `at`, without escapes; `at` moves behind it.
std::string read_string(std::string_view text, std::size_t& at) {
  const char quote = text[at++];
  std::string value;
  while (at < text.size() && text[at] != quote) {
    char c = text[at++];
    if (c == '\\' && at < text.size()) {
      c = text[at++];
      if (c == 'n')
        c = '\n';
      else if (c == 't')
        c = '\t';
      else if (c != '\\' && c != '\'' && c != '"')
        value += '\\';
    }
    value += c;
  }
  ++at;
  return string_mark + value + string_mark;
}

/// The inside of a tag with one spelling for what can be spelt in several ways.
std::string canonical_expression(std::string_view text) {
  std::string out;
  bool word_before = false;
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (is_space(c)) {
      ++at;
      continue;
    }
    if (c == '\'' || c == '"') {
      out += read_string(text, at);
      word_before = false;
      continue;
    }
    const bool attribute = c == '.' && at + 1 < text.size() && is_word(text[at + 1]) && !(text[at + 1] <= '9');
    if (!is_word(c) && !attribute) {
      out += c;
      ++at;
      word_before = false;
      continue;
    }
    std::size_t end = at + 1;
    while (end < text.size() && is_word(text[end]))
      ++end;
    if (attribute) {
      out += std::string("[") + string_mark + std::string(text.substr(at + 1, end - at - 1)) + string_mark + "]";
    } else {
      if (word_before)
        out += ' ';
      out += text.substr(at, end - at);
    }
    word_before = !attribute;
    at = end;
  }
  return out;
}

/// Where a tag's inside ends: the next `close` outside strings.
std::size_t find_close(std::string_view text, std::size_t at, std::string_view close, bool strings) {
  while (at < text.size() && text.substr(at, 2) != close) {
    if (strings && (text[at] == '\'' || text[at] == '"'))
      read_string(text, at);
    else
      ++at;
  }
  return at;
}

void trim_spaces(std::string& data) {
  while (!data.empty() && is_space(data.back()))
    data.pop_back();
}

/// Blanks and tabs, not line ends.
void trim_blanks(std::string& data) {
  while (!data.empty() && (data.back() == ' ' || data.back() == '\t'))
    data.pop_back();
}

std::string canonical_template(std::string_view text) {
  std::string out;
  std::string data;
  bool at_line_start = true; // of `data`, where lstrip_blocks may reach back to
  const auto emit_data = [&] {
    if (!data.empty())
      out += std::string("{{") + string_mark + data + string_mark + "}}";
    data.clear();
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::string_view open = text.substr(at, 2);
    if (open != "{{" && open != "{%" && open != "{#") {
      data += text[at++];
      continue;
    }
    const char kind = open[1];
    at += 2;
    const bool cut_before = at < text.size() && text[at] == '-';
    if (cut_before) {
      trim_spaces(data);
    } else if (kind != '{') {
      const std::size_t line = data.find_last_not_of(" \t");
      if (line == std::string::npos ? at_line_start : data[line] == '\n')
        trim_blanks(data);
    }
    emit_data();
    if (cut_before)
      ++at;
    const std::string close = kind == '{' ? "}}" : std::string(1, kind) + "}";
    const std::size_t end = find_close(text, at, close, kind != '#');
    std::string_view inside = text.substr(at, end - at);
    at = std::min(end + 2, text.size());
    const bool cut_after = inside.ends_with('-');
    if (cut_after)
      inside.remove_suffix(1);
    if (kind != '#')
      out += "{" + std::string(1, kind) + canonical_expression(inside) + close;
    if (cut_after)
      while (at < text.size() && is_space(text[at]))
        ++at;
    else if (kind != '{' && at < text.size() && text[at] == '\n')
      ++at;
    at_line_start = at > 0 && text[at - 1] == '\n';
  }
  if (data.ends_with('\n'))
    data.pop_back();
  emit_data();
  return out;
}

std::string without_carriage_returns(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (text[i] != '\r' || i + 1 == text.size() || text[i + 1] != '\n')
      out += text[i];
  return out;
}

/// `canonical` with a hole wherever the default system line stands.
std::string with_hole(std::string_view canonical, std::string_view line) {
  std::string out;
  while (!canonical.empty()) {
    const auto at = line.empty() ? std::string_view::npos : canonical.find(line);
    out += canonical.substr(0, at);
    if (at == std::string_view::npos)
      break;
    out += hole;
    canonical.remove_prefix(at + line.size());
  }
  return out;
}

std::string default_system_line(std::string_view canonical) {
  constexpr std::string_view before = "<|im_start|>system\n";
  constexpr std::string_view after = "<|im_end|>";
  for (std::size_t at = canonical.find(before); at != std::string_view::npos; at = canonical.find(before, at + 1)) {
    const std::size_t begin = at + before.size();
    const std::size_t end = canonical.find_first_of(std::string("<") + string_mark, begin);
    if (end != std::string_view::npos && end > begin && end - begin <= longest_system
        && canonical.substr(end).starts_with(after))
      return std::string(canonical.substr(begin, end - begin));
  }
  return {};
}

} // namespace

template_skeleton skeleton_of(std::string_view jinja) {
  const std::string canonical = canonical_template(without_carriage_returns(jinja));
  template_skeleton skeleton;
  skeleton.default_system = default_system_line(canonical);
  skeleton.hash = 0xcbf29ce484222325u;
  for (const char c : with_hole(canonical, skeleton.default_system))
    skeleton.hash = (skeleton.hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  return skeleton;
}

} // namespace millrace::text
