#include "runtime/pipeline/wording.hpp"

#include "runtime/words/decimal.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <utility>

namespace millrace::pipeline {
namespace {

/// The control character that begins at byte `i`, also one of those beyond ASCII (U+0080 to U+009F).
std::optional<unsigned char> control_at(std::string_view text, std::size_t i) {
  const auto byte = static_cast<unsigned char>(text[i]);
  if (byte < 0x20 || byte == 0x7f)
    return byte;
  const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
  return byte == 0xc2 && next >= 0x80 && next < 0xa0 ? std::optional(next) : std::nullopt;
}

/// @returns how many bytes it has beyond its first
std::size_t append_control(std::string& out, unsigned char control) {
  char buffer[8];
  switch (control) {
  case '\n':
    out += "\\n";
    return 0;
  case '\t':
    out += "\\t";
    return 0;
  case '\r':
    out += "\\r";
    return 0;
  default:
    std::snprintf(buffer, sizeof buffer, "\\u%04X", control);
    out += buffer;
    return control >= 0x80 ? 1 : 0;
  }
}

/// Edits (insert, delete, replace, swap of neighbours) that make one word of the other.
std::size_t distance(std::string_view a, std::string_view b) {
  std::vector<std::vector<std::size_t>> d(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i)
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        d[i][j] = i + j;
        continue;
      }
      d[i][j] = std::min({d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        d[i][j] = std::min(d[i][j], d[i - 2][j - 2] + 1);
    }
  return d[a.size()][b.size()];
}

/// What PEFT, TRL, verl and others call a key, and its name here.
constexpr std::pair<std::string_view, std::string_view> names_of_others[] = {
    {"r", "rank"},
    {"lora_r", "rank"},
    {"lora_alpha", "alpha"},
    {"target_modules", "targets"},
    {"learning_rate", "lr"},
    {"max_steps", "steps"},
    {"total_steps", "steps"},
    {"max_tokens", "max_new_tokens"},
    {"max_completion_length", "max_new_tokens"},
    {"num_generations", "answers_per_prompt"},
    {"n", "answers_per_prompt"},
    {"model_path", "model"},
    {"path", "file"},
    {"beta", "kl_coefficient"},
    {"kl_coef", "kl_coefficient"},
    {"max_grad_norm", "clip_norm"},
};

} // namespace

std::string printable(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i)
    if (const auto control = control_at(text, i))
      i += append_control(out, *control);
    else
      out += text[i];
  return out;
}

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (std::size_t i = 0; i < text.size(); ++i)
    if (const auto control = control_at(text, i))
      i += append_control(out, *control);
    else if (text[i] == '"' || text[i] == '\\')
      (out += '\\') += text[i];
    else
      out += text[i];
  return out + '"';
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text)
    switch (c) {
    case '&':
      out += "&amp;";
      break;
    case '<':
      out += "&lt;";
      break;
    case '>':
      out += "&gt;";
      break;
    case '"':
      out += "&quot;";
      break;
    case '\'':
      out += "&#39;";
      break;
    default:
      out += c;
    }
  return out;
}

std::string real_number(double x) {
  const std::string written = decimal(x);
  return written.find_first_of(".en") == std::string::npos ? written + ".0" : written;
}

std::string joined(const std::vector<std::string>& words, std::string_view between) {
  std::string out;
  for (const std::string& word : words) {
    if (!out.empty())
      out += between;
    out += word;
  }
  return out;
}

std::string nearest(std::string_view word, const std::vector<std::string>& words) {
  if (word.size() > 64)
    return {};
  std::string best;
  std::size_t least = word.size() < 4 ? 2 : 3 + word.size() / 8;
  for (const std::string& candidate : words) {
    const std::size_t edits = distance(word, candidate);
    if (edits < least && edits < candidate.size()) {
      least = edits;
      best = candidate;
    }
  }
  return best;
}

std::string suggestion(std::string_view word, const std::vector<std::string>& words) {
  for (const auto& [theirs, ours] : names_of_others)
    if (word == theirs && std::find(words.begin(), words.end(), ours) != words.end())
      return ", did you mean " + in_quotes(ours) + '?';
  if (const std::string best = nearest(word, words); !best.empty())
    return ", did you mean " + in_quotes(best) + '?';
  return words.empty() ? "" : ", want one of " + joined(words);
}

} // namespace millrace::pipeline
