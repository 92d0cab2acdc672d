#include "runtime/text/pattern.hpp"

#include "runtime/words/input_error.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

namespace millrace::text {
namespace {

constexpr std::uint32_t match_steps = 20'000'000; // a second or so of backtracking
constexpr std::size_t jit_stack_bytes = 8u << 20; // grows to this from 32 KiB

// What Unicode 15.0, 15.1 and 16.0 added to the classes that tokenizers ask for. PCRE2 10.42 stands at Unicode 14; the
// Oniguruma of `tokenizers` 0.23 at 16.
constexpr std::string_view newer_letters =
    R"(\x{1C89}-\x{1C8A}\x{A7CB}-\x{A7CD}\x{A7DA}-\x{A7DC}\x{105C0}-\x{105F3}\x{10D4A}-\x{10D65})"
    R"(\x{10D6F}-\x{10D85}\x{10EC2}-\x{10EC4}\x{1123F}-\x{11240}\x{11380}-\x{11389}\x{1138B}\x{1138E})"
    R"(\x{11390}-\x{113B5}\x{113B7}\x{113D1}\x{113D3}\x{11BC0}-\x{11BE0}\x{11F02}\x{11F04}-\x{11F10})"
    R"(\x{11F12}-\x{11F33}\x{1342F}\x{13441}-\x{13446}\x{13460}-\x{143FA}\x{16100}-\x{1611D})"
    R"(\x{16D40}-\x{16D6C}\x{18CFF}\x{1B132}\x{1B155}\x{1DF25}-\x{1DF2A}\x{1E030}-\x{1E06D})"
    R"(\x{1E4D0}-\x{1E4EB}\x{1E5D0}-\x{1E5ED}\x{1E5F0}\x{2B739}\x{2EBF0}-\x{2EE5D}\x{31350}-\x{323AF})";
constexpr std::string_view newer_numbers =
    R"(\x{10D40}-\x{10D49}\x{116D0}-\x{116E3}\x{11BF0}-\x{11BF9}\x{11F50}-\x{11F59}\x{16130}-\x{16139})"
    R"(\x{16D70}-\x{16D79}\x{1CCF0}-\x{1CCF9}\x{1D2C0}-\x{1D2D3}\x{1E4F0}-\x{1E4F9}\x{1E5F1}-\x{1E5FA})";
constexpr std::string_view newer_marks =
    R"(\x{897}\x{CF3}\x{ECE}\x{10D69}-\x{10D6D}\x{10EFC}-\x{10EFF}\x{11241}\x{113B8}-\x{113C0}\x{113C2})"
    R"(\x{113C5}\x{113C7}-\x{113CA}\x{113CC}-\x{113D0}\x{113D2}\x{113E1}-\x{113E2}\x{11F00}-\x{11F01})"
    R"(\x{11F03}\x{11F34}-\x{11F3A}\x{11F3E}-\x{11F42}\x{11F5A}\x{13440}\x{13447}-\x{13455})"
    R"(\x{1611E}-\x{1612F}\x{1E08F}\x{1E4EC}-\x{1E4EF}\x{1E5EE}-\x{1E5EF})";

std::string_view additions_to(std::string_view property) {
  return property == "L" ? newer_letters : property == "N" ? newer_numbers : property == "M" ? newer_marks : "";
}

/// The expression with `\s`, `\p{L}`, `\p{N}` and `\p{M}` as Unicode 16 has them. PCRE2's own `\s` also has U+180E,
/// which left White_Space in Unicode 6.3.
std::string with_newer_unicode(std::string_view expression) {
  std::string changed;
  bool in_class = false;
  for (std::size_t i = 0; i < expression.size(); ++i) {
    const char c = expression[i];
    if (c != '\\' || i + 1 == expression.size()) {
      in_class = c == '[' || (in_class && c != ']');
      changed += c;
      continue;
    }
    const char letter = expression[++i];
    if (letter == 's' || letter == 'S') {
      changed += letter == 's' ? "\\p{White_Space}" : "\\P{White_Space}";
      continue;
    }
    const std::string_view property = expression.substr(i + 1, 3);
    const bool braced =
        (letter == 'p' || letter == 'P') && property.size() == 3 && property[0] == '{' && property[2] == '}';
    const std::string_view more = braced ? additions_to(property.substr(1, 1)) : "";
    if (more.empty() || (letter == 'P' && in_class)) {
      changed += {'\\', letter};
      continue;
    }
    i += 3;
    const std::string members = "\\p" + std::string(property) + std::string(more);
    changed += in_class ? members : (letter == 'P' ? "[^" : "[") + members + "]";
  }
  return changed;
}

std::string pcre2_message(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

} // namespace

struct pattern::workspace::state {
  pcre2_match_data* captures = pcre2_match_data_create(1, nullptr);
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32u << 10, jit_stack_bytes, nullptr);

  state() {
    if (!captures || !context || !stack)
      throw std::bad_alloc();
    pcre2_set_match_limit(context, match_steps);
    pcre2_jit_stack_assign(context, nullptr, stack);
  }

  state(const state&) = delete;
  state& operator=(const state&) = delete;

  ~state() {
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
    pcre2_match_data_free(captures);
  }
};

struct pattern::state {
  std::string origin;
  pcre2_code* code = nullptr;
  bool compiled_to_machine_code = false;

  explicit state(std::string from) : origin(std::move(from)) {}

  state(const state&) = delete;
  state& operator=(const state&) = delete;

  ~state() { pcre2_code_free(code); }
};

pattern::workspace::workspace() : state_(std::make_unique<state>()) {
}

pattern::workspace::~workspace() = default;
pattern::workspace::workspace(workspace&&) noexcept = default;
pattern::workspace& pattern::workspace::operator=(workspace&&) noexcept = default;

pattern::pattern(std::string_view expression, std::string origin) : state_(std::make_unique<state>(std::move(origin))) {
  const std::string text = with_newer_unicode(expression);
  int code = 0;
  PCRE2_SIZE at = 0;
  state_->code =
      pcre2_compile(units(text), text.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &code, &at, nullptr);
  if (!state_->code)
    throw input_error(state_->origin + ": pattern: found \"" + std::string(expression) + "\" (" + pcre2_message(code)
                      + "), want a regular expression");
  state_->compiled_to_machine_code = pcre2_jit_compile(state_->code, PCRE2_JIT_COMPLETE) == 0;
}

pattern::~pattern() = default;
pattern::pattern(pattern&&) noexcept = default;
pattern& pattern::operator=(pattern&&) noexcept = default;

std::optional<std::pair<std::size_t, std::size_t>> pattern::find(std::string_view text, std::size_t from,
                                                                 workspace& own) const {
  pcre2_match_data* const captures = own.state_->captures;
  pcre2_match_context* const context = own.state_->context;
  int found = PCRE2_ERROR_JIT_STACKLIMIT;
  if (state_->compiled_to_machine_code)
    found = pcre2_jit_match(state_->code, units(text), text.size(), from, 0, captures, context);
  if (found == PCRE2_ERROR_JIT_STACKLIMIT)
    found =
        pcre2_match(state_->code, units(text), text.size(), from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, captures, context);
  if (found == PCRE2_ERROR_NOMATCH)
    return std::nullopt;
  if (found < 0)
    throw input_error(state_->origin + ": pattern: matching a text of " + std::to_string(text.size())
                      + " bytes ended with \"" + pcre2_message(found)
                      + "\", want a pattern that matches in linear time");
  const PCRE2_SIZE* const bounds = pcre2_get_ovector_pointer(captures);
  return std::pair{std::size_t{bounds[0]}, std::size_t{bounds[1]}};
}

std::string escaped_pattern(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80
        && !((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')))
      escaped += '\\';
    escaped += c;
  }
  return escaped;
}

} // namespace millrace::text
