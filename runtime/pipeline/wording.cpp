#include "runtime/pipeline/wording.hpp"

#include "runtime/words/decimal.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <utility>

namespace millrace::pipeline {
namespace {

void append_control(std::string& out, unsigned char c) {
  char buffer[8];
  switch (c) {
  case '\n':
    out += "\\n";
    return;
  case '\t':
    out += "\\t";
    return;
  case '\r':
    out += "\\r";
    return;
  default:
    std::snprintf(buffer, sizeof buffer, "\\u%04X", c);
    out += buffer;
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
  for (const char c : text)
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      append_control(out, static_cast<unsigned char>(c));
    else
      out += c;
  return out;
}

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text)
    if (c == '"' || c == '\\')
      (out += '\\') += c;
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f)
      append_control(out, static_cast<unsigned char>(c));
    else
      out += c;
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
