#include "runtime/rules/rule.hpp"
#include "runtime/stated/characters.hpp"

#include <utf8proc.h>

#include <cstdlib>
#include <optional>

namespace millrace::rules {

extern const rule_type exact;

namespace {

enum class spaces { keep, trim, collapse, remove };

/// Unicode case folding; nothing for text that is not UTF-8.
std::optional<std::string> folded(std::string_view text) {
  utf8proc_uint8_t* made = nullptr;
  const utf8proc_ssize_t length =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                   &made, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_CASEFOLD));
  if (length < 0)
    return std::nullopt;
  std::string out(reinterpret_cast<const char*>(made), static_cast<std::size_t>(length));
  std::free(made);
  return out;
}

/// 1 if the answer is the row's, else 0.
class exact_rule final : public rule {
public:
  exact_rule(spaces white_space, bool ignore_case) : white_space_(white_space), ignore_case_(ignore_case) {}

  std::string unreadable(std::string_view answer) const override {
    return answer.empty() ? "the row has no answer" : prepared(answer) ? "" : "the row's answer is not UTF-8";
  }

  score evaluate(const rule_input& input) const override {
    if (std::string why = unreadable(input.answer); !why.empty())
      return score::invalid(std::move(why));
    const auto text = prepared(input.text);
    const auto answer = prepared(input.answer);
    return score::of(text && *text == *answer ? 1 : 0);
  }

  std::string statement(const rule_input& input) const override { return prepared(input.text).value_or(std::string()); }

private:
  std::optional<std::string> prepared(std::string_view text) const {
    std::string out;
    switch (white_space_) {
    case spaces::keep:
      out = text;
      break;
    case spaces::trim:
      out = stated::trimmed(text);
      break;
    case spaces::collapse:
      out = stated::with_spaces_as(text, " ");
      break;
    case spaces::remove:
      out = stated::with_spaces_as(text, "");
      break;
    }
    return ignore_case_ ? folded(out) : out;
  }

  spaces white_space_;
  bool ignore_case_;
};

std::unique_ptr<rule> make_exact(const option_values& given) {
  const auto& word = std::get<std::string>(given.at("whitespace"));
  const spaces white_space = word == "trim"       ? spaces::trim
                             : word == "collapse" ? spaces::collapse
                             : word == "remove"   ? spaces::remove
                                                  : spaces::keep;
  return std::make_unique<exact_rule>(white_space, std::get<bool>(given.at("ignore_case")));
}

} // namespace

const rule_type exact{
    .name = "exact",
    .meaning = "1 if the answer's text is the row's answer, else 0",
    .options =
        {{.name = "ignore_case", .fallback = false, .allowed = any(), .meaning = "compare after Unicode case folding"},
         {.name = "whitespace",
          .fallback = std::string("trim"),
          .allowed = one_of({"trim", "collapse", "remove", "keep"}),
          .meaning = "of both texts: trim the ends, collapse runs to one space, remove or keep it"}},
    .make = make_exact};

} // namespace millrace::rules
