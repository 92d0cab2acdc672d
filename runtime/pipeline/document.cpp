#include "runtime/pipeline/document.hpp"

#include "runtime/pipeline/wording.hpp"

#include <utf8proc.h>

// toml++ 3.3 checks some of its own assumptions with assert, and input can make them false: without asserts it stays
// sound.
#ifndef NDEBUG
#define NDEBUG
#endif
#include <toml++/impl/forward_declarations.h>
// Its test for white space calls unreachable what any letter beyond ASCII reaches: there, false is right.
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE return false
#include <toml++/impl/unicode.h>
#undef TOML_UNREACHABLE
#define TOML_UNREACHABLE __builtin_unreachable()
#include <toml++/toml.h>

#include <algorithm>
#include <sstream>
#include <tuple>
#include <utility>

namespace millrace::pipeline {
namespace {

constexpr std::size_t most_bytes = 1 << 20;
constexpr int most_depth = 32;

[[noreturn]] void stop(const std::string& name, std::int64_t line, std::int64_t column, std::string text) {
  throw pipeline_errors({{{name, line, column}, std::move(text)}});
}

/// Walks the text once, as far as it is valid TOML, and counts.
class guard {
public:
  guard(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  void check() {
    if (text_.size() > most_bytes)
      stop(name_, 1, 1, "found " + std::to_string(text_.size()) + " bytes, want a pipeline of at most 1 MiB");
    while (at_ < text_.size())
      step();
  }

private:
  enum class inside { nothing, comment, basic, literal, long_basic, long_literal };

  void step() {
    utf8proc_int32_t c = 0;
    const auto size = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text_.data()) + at_,
                                       static_cast<utf8proc_ssize_t>(text_.size() - at_), &c);
    if (size <= 0)
      stop(name_, line_, column_, "found a byte that is not UTF-8, want UTF-8 text");
    if (c == 0)
      stop(name_, line_, column_, "found a NUL byte, want text");
    std::size_t bytes = static_cast<std::size_t>(size);
    if (std::exchange(escaped_, false)) {
      if (c == '\n' && state_ == inside::basic)
        state_ = inside::nothing;
    } else {
      bytes = std::max(bytes, enter(c));
    }
    at_ += bytes;
    // More than one character is taken at once only of quotes, which are one byte each.
    column_ += bytes > static_cast<std::size_t>(size) ? static_cast<std::int64_t>(bytes) : 1;
    if (c == '\n') {
      ++line_;
      column_ = 1;
    }
  }

  /// Bytes that belong together with `c`: the quotes of a long string, or 1.
  std::size_t enter(utf8proc_int32_t c) {
    const bool quotes = text_.substr(at_, 3) == "\"\"\"";
    const bool apostrophes = text_.substr(at_, 3) == "'''";
    switch (state_) {
    case inside::nothing:
      return outside(c, quotes, apostrophes);
    case inside::comment:
      if (c == '\n')
        state_ = inside::nothing;
      return 1;
    case inside::basic:
      escaped_ = c == '\\';
      if (c == '"' || c == '\n')
        state_ = inside::nothing;
      return 1;
    case inside::literal:
      if (c == '\'' || c == '\n')
        state_ = inside::nothing;
      return 1;
    case inside::long_basic:
      escaped_ = c == '\\';
      return quotes ? end_of_long('"') : 1;
    case inside::long_literal:
      return apostrophes ? end_of_long('\'') : 1;
    }
    return 1;
  }

  std::size_t outside(utf8proc_int32_t c, bool quotes, bool apostrophes) {
    switch (c) {
    case '#':
      state_ = inside::comment;
      dots_ = 0;
      return 1;
    case '"':
      state_ = quotes ? inside::long_basic : inside::basic;
      return quotes ? 3 : 1;
    case '\'':
      state_ = apostrophes ? inside::long_literal : inside::literal;
      return apostrophes ? 3 : 1;
    case '[':
    case '{':
      dots_ = 0;
      if (++depth_ > most_depth)
        too_deep();
      return 1;
    case ']':
    case '}':
      depth_ = std::max(0, depth_ - 1);
      dots_ = 0;
      return 1;
    case '.':
      if (++dots_ >= most_depth)
        too_deep();
      return 1;
    case '\n':
    case ',':
    case '=':
      dots_ = 0;
      return 1;
    default:
      return 1;
    }
  }

  /// The closing quotes of a long string: three, or up to five where the last of the text are quotes too.
  std::size_t end_of_long(char quote) {
    state_ = inside::nothing;
    std::size_t count = 0;
    while (count < 5 && at_ + count < text_.size() && text_[at_ + count] == quote)
      ++count;
    return count;
  }

  [[noreturn]] void too_deep() const {
    stop(name_, line_, column_,
         "found more than " + std::to_string(most_depth)
             + " levels, want tables, lists and dotted keys at most that deep");
  }

  std::string_view text_;
  const std::string& name_;
  std::size_t at_ = 0;
  std::int64_t line_ = 1, column_ = 1;
  inside state_ = inside::nothing;
  bool escaped_ = false;
  int depth_ = 0, dots_ = 0;
};

position place(const toml::source_region& region, const std::string& name) {
  return {name, static_cast<std::int64_t>(region.begin.line), static_cast<std::int64_t>(region.begin.column)};
}

template <class Date>
std::string written(const Date& date) {
  std::ostringstream out;
  out << date;
  return out.str();
}

value converted(const toml::node& node, const std::string& name) {
  value out;
  out.where = place(node.source(), name);
  node.visit([&](const auto& it) {
    using node_type = std::decay_t<decltype(it)>;
    if constexpr (std::is_same_v<node_type, toml::table>) {
      out.kind = value::type::table;
      for (const auto& [key, child] : it)
        out.members.push_back({std::string(key.str()), place(key.source(), name), converted(child, name)});
      std::stable_sort(out.members.begin(), out.members.end(), [](const member& a, const member& b) {
        return std::tie(a.where.line, a.where.column) < std::tie(b.where.line, b.where.column);
      });
    } else if constexpr (std::is_same_v<node_type, toml::array>) {
      out.kind = value::type::list;
      for (const auto& child : it)
        out.items.push_back(converted(child, name));
    } else if constexpr (std::is_same_v<node_type, toml::value<bool>>) {
      out.kind = value::type::boolean;
      out.boolean = it.get();
    } else if constexpr (std::is_same_v<node_type, toml::value<std::int64_t>>) {
      out.kind = value::type::integer;
      out.integer = it.get();
    } else if constexpr (std::is_same_v<node_type, toml::value<double>>) {
      out.kind = value::type::real;
      out.real = it.get();
    } else if constexpr (std::is_same_v<node_type, toml::value<std::string>>) {
      out.kind = value::type::text;
      out.text = it.get();
    } else {
      out.kind = value::type::date;
      out.text = written(it.get());
    }
  });
  return out;
}

} // namespace

const member* value::find(std::string_view key) const {
  const auto it = std::find_if(members.begin(), members.end(), [&](const member& m) { return m.key == key; });
  return it == members.end() ? nullptr : &*it;
}

std::string value::found() const {
  switch (kind) {
  case type::boolean:
    return boolean ? "true" : "false";
  case type::integer:
    return std::to_string(integer);
  case type::real:
    return real_number(real);
  case type::text:
    return in_quotes(text);
  case type::date:
    return "the date " + text;
  case type::list:
    return items.empty() ? "an empty list" : "a list of " + std::to_string(items.size());
  case type::table:
    return "a table";
  }
  return {};
}

value parse_document(std::string_view text, const std::string& name) {
  guard(text, name).check();
  try {
    return converted(toml::parse(text, std::string_view(name)), name);
  } catch (const toml::parse_error& error) {
    stop(name, static_cast<std::int64_t>(error.source().begin.line),
         static_cast<std::int64_t>(error.source().begin.column), "not TOML: " + printable(error.description()));
  }
}

} // namespace millrace::pipeline
