#include "runtime/rules/rule.hpp"
#include "runtime/stated/characters.hpp"
#include "runtime/words/input_error.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <new>

namespace millrace::rules {

extern const rule_type format;

namespace {

constexpr std::uint32_t match_steps = 1'000'000; // under a second of backtracking
constexpr std::uint32_t heap_kib = 64 << 10;

std::string pcre2_message(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

template <auto release>
struct released {
  template <class T>
  void operator()(T* object) const {
    release(object);
  }
};

/// 1 if the text matches, else 0. A search that exceeds its steps or memory is an error, not a score.
class format_rule final : public rule {
public:
  format_rule(const std::string& pattern, bool full, bool trim)
      : trim_(trim), options_(full ? PCRE2_ANCHORED | PCRE2_ENDANCHORED : 0) {
    int code = 0;
    PCRE2_SIZE at = 0;
    code_.reset(pcre2_compile(units(pattern), pattern.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code,
                              &at, nullptr));
    if (!code_)
      throw input_error("rule format: pattern: found \"" + pattern + "\" (at character " + std::to_string(at + 1) + ": "
                        + pcre2_message(code) + "), want a regular expression");
    context_.reset(pcre2_match_context_create(nullptr));
    if (!context_)
      throw std::bad_alloc();
    pcre2_set_match_limit(context_.get(), match_steps);
    pcre2_set_heap_limit(context_.get(), heap_kib);
  }

  score evaluate(const rule_input& input) const override {
    const std::string_view text = trim_ ? stated::trimmed(input.text) : input.text;
    const std::unique_ptr<pcre2_match_data, released<pcre2_match_data_free>> captures(
        pcre2_match_data_create(1, nullptr));
    if (!captures)
      throw std::bad_alloc();
    const int found = pcre2_match(code_.get(), units(text), text.size(), 0, options_, captures.get(), context_.get());
    if (found < 0 && found != PCRE2_ERROR_NOMATCH)
      return score::error("matching the pattern: " + pcre2_message(found));
    return score::of(found >= 0 ? 1 : 0);
  }

private:
  bool trim_;
  std::uint32_t options_;
  std::unique_ptr<pcre2_code, released<pcre2_code_free>> code_;
  std::unique_ptr<pcre2_match_context, released<pcre2_match_context_free>> context_; // read-only once made: shared
};

std::unique_ptr<rule> make_format(const option_values& given) {
  return std::make_unique<format_rule>(std::get<std::string>(given.at("pattern")),
                                       std::get<std::string>(given.at("match")) == "full",
                                       std::get<bool>(given.at("trim")));
}

} // namespace

const rule_type format{
    .name = "format",
    .meaning = "1 if the answer's text matches a regular expression, else 0",
    .options = {{.name = "pattern",
                 .fallback = std::string(),
                 .allowed = needed(),
                 .meaning = "a regular expression (PCRE2, Unicode); (?s) lets . match a newline, (?i) ignores case"},
                {.name = "match",
                 .fallback = std::string("full"),
                 .allowed = one_of({"full", "search"}),
                 .meaning = "the whole text must match, or some part of it"},
                {.name = "trim",
                 .fallback = true,
                 .allowed = any(),
                 .meaning = "leave white space at the ends of the text out"}},
    .make = make_format};

} // namespace millrace::rules
