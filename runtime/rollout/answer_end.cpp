#include "runtime/rollout/answer_end.hpp"

#include <algorithm>

namespace millrace::rollout {
namespace {

bool is_end_token(std::int32_t token, const sampling& how) {
  return std::ranges::find(how.end_tokens, token) != how.end_tokens.end();
}

std::size_t first_stop(const std::string& text, const sampling& how) {
  std::size_t first = std::string::npos;
  for (const auto& stop : how.stop)
    if (!stop.empty())
      first = std::min(first, text.find(stop));
  return first;
}

} // namespace

std::optional<finish_reason> end_of_answer(std::span<const std::int32_t> tokens, std::size_t first, const sampling& how,
                                           const text::tokenizer* tok, std::int64_t room) {
  const auto turn = tokens.subspan(first);
  if (is_end_token(tokens.back(), how))
    return finish_reason::stop;
  if (!how.stop.empty()) {
    // A stop string ends in the last token, and a token is at least a byte: the tail holds all of it.
    std::size_t longest = 0;
    for (const auto& stop : how.stop)
      longest = std::max(longest, stop.size());
    const auto tail = turn.last(std::min(turn.size(), longest + 1));
    if (first_stop(tok->decode(tail, text::specials::skip), how) != std::string::npos)
      return finish_reason::stop;
  }
  const bool long_turn = how.max_turn_tokens > 0 && static_cast<std::int64_t>(turn.size()) >= how.max_turn_tokens;
  if (is_full(tokens.size(), how, room) || long_turn)
    return finish_reason::length;
  return std::nullopt;
}

bool is_full(std::size_t count, const sampling& how, std::int64_t room) {
  return static_cast<std::int64_t>(count) >= std::min(how.max_new_tokens, room);
}

std::span<const std::int32_t> last_turn(const answer& a) {
  return std::span(a.tokens).subspan(a.turns.empty() ? 0 : static_cast<std::size_t>(a.turns.back().begin));
}

std::vector<std::int32_t> segment_begins(const answer& a) {
  std::vector<std::int32_t> begins;
  for (std::size_t k = 1; k < a.turns.size(); ++k)
    if (a.turns[k].new_segment)
      begins.push_back(a.turns[k - 1].end);
  return begins;
}

std::int64_t last_segment(const answer& a) {
  for (std::size_t k = a.turns.size(); k-- > 1;)
    if (a.turns[k].new_segment)
      return a.turns[k - 1].end;
  return 0;
}

std::int64_t sequence_begin(const answer& a, std::int64_t prompt_tokens) {
  const auto segment = last_segment(a);
  return segment > 0 ? segment : -prompt_tokens;
}

std::int64_t sampled_tokens(const answer& a) {
  auto count = static_cast<std::int64_t>(a.turns.empty() ? a.tokens.size() : 0);
  for (const auto& turn : a.turns)
    count += (turn.end < 0 ? static_cast<std::int64_t>(a.tokens.size()) : turn.end) - turn.begin;
  return count;
}

std::string text_of_answer(std::span<const std::int32_t> tokens, finish_reason end, const sampling& how,
                           const text::tokenizer* tok) {
  if (!tok)
    return "";
  const bool by_token = is_end_token(tokens.back(), how);
  std::string text = tok->decode(by_token ? tokens.first(tokens.size() - 1) : tokens, text::specials::skip);
  if (end == finish_reason::stop && !by_token)
    text.resize(std::min(text.size(), first_stop(text, how)));
  return text;
}

} // namespace millrace::rollout
