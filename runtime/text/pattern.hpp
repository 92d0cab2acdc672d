#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace millrace::text {

/// A compiled regular expression over valid UTF-8, with the Unicode properties that Oniguruma (what `tokenizers` runs)
/// gives `\s`, `\p{L}` and `\p{N}`. Immutable; safe to share between threads.
class pattern {
public:
  /// What one thread needs to match: memory for the captures and the machine stack of compiled patterns.
  class workspace {
  public:
    workspace();
    ~workspace();
    workspace(workspace&&) noexcept;
    workspace& operator=(workspace&&) noexcept;

  private:
    friend class pattern;
    struct state;
    std::unique_ptr<state> state_;
  };

  /// @throws input_error "origin: pattern: what PCRE2 says" if `expression` does not compile
  pattern(std::string_view expression, std::string origin);
  ~pattern();
  pattern(pattern&&) noexcept;
  pattern& operator=(pattern&&) noexcept;

  /// First match at or after byte `from` of `text` (valid UTF-8, `from` at the start of a character): [begin, end).
  ///
  /// @throws input_error if the search takes more than the limit of steps (a catastrophic pattern)
  std::optional<std::pair<std::size_t, std::size_t>> find(std::string_view text, std::size_t from,
                                                          workspace& own) const;

private:
  struct state;
  std::unique_ptr<state> state_;
};

/// `text` as an expression that matches exactly itself.
std::string escaped_pattern(std::string_view text);

} // namespace millrace::text
