#include "runtime/rollout/request_check.hpp"

#include "runtime/rollout/answer_end.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace millrace::rollout {
namespace {

/// Turns one after another, each but the last one with its end, the last one up to the last token.
bool are_turns_of(const answer& each, bool ended) {
  std::int32_t from = 0;
  for (std::size_t i = 0; i < each.turns.size(); ++i) {
    const auto& turn = each.turns[i];
    const bool open = turn.end < 0;
    if (turn.new_segment && (i == 0 || turn.begin == from))
      return false;
    if (turn.begin < from || (open ? ended || i + 1 < each.turns.size() : turn.end <= turn.begin))
      return false;
    from = open ? turn.begin : turn.end;
  }
  return from <= static_cast<std::int32_t>(each.tokens.size());
}

} // namespace

void check_request(const group_request& request, const model::model_config& config, const text::tokenizer* tok) {
  const auto& how = request.how;
  if (request.greedy < 0 || request.greedy > request.answers)
    throw std::invalid_argument("rollout::engine: greedy: want 0 to answers");
  if (request.needed < 0 || request.needed > request.answers || (request.needed > 0 && request.greedy > 0))
    throw std::invalid_argument("rollout::engine: needed: want 0 to answers, and 0 with greedy ones");
  if (request.answers < 1 || how.max_new_tokens < 1)
    throw std::invalid_argument("rollout::engine: want answers >= 1 and max_new_tokens >= 1");
  if (!(how.temperature >= 0) || how.top_k < 0 || !(how.top_p > 0 && how.top_p <= 1)
      || !(how.min_p >= 0 && how.min_p <= 1))
    throw std::invalid_argument("rollout::engine: want temperature >= 0, top_k >= 0, top_p in (0, 1], min_p in [0, 1]");
  if (!how.stop.empty() && tok == nullptr)
    throw std::invalid_argument("rollout::engine: stop strings need a tokenizer");
  if (how.max_turn_tokens < 0)
    throw std::invalid_argument("rollout::engine: want max_turn_tokens >= 0");
  check_tokens(request.prompt, config);
}

void check_tokens(std::span<const std::int32_t> tokens, const model::model_config& config) {
  for (const auto token : tokens)
    if (token < 0 || token >= config.vocab_size)
      throw std::invalid_argument("rollout::engine: token " + std::to_string(token) + ", want one in [0, "
                                  + std::to_string(config.vocab_size) + ")");
}

void check_partial(const partial_group& so_far, const group_request& request, const model::model_config& config,
                   std::int64_t max_context) {
  const auto refuse = [](const char* why) {
    throw std::invalid_argument(std::string("rollout::engine: so_far: ") + why);
  };
  const auto answers = static_cast<std::size_t>(request.answers);
  if (so_far.group != request.group || so_far.answers.size() != answers || so_far.ended.size() != answers)
    refuse("want the request's group and as many answers");
  for (std::size_t i = 0; i < answers; ++i) {
    const auto& each = so_far.answers[i];
    const auto tokens = std::ssize(each.tokens);
    const auto full = max_context + sequence_begin(each, std::ssize(request.prompt));
    const auto room = std::min(request.how.max_new_tokens, full);
    if (each.logprob.size() != each.tokens.size() || each.version.size() != each.tokens.size())
      refuse("want a log-probability and a version for each token");
    if (!are_turns_of(each, so_far.ended[i] != 0) || (!each.turns.empty() && !request.episodes))
      refuse("want turns one after another, of a request with episodes");
    if (so_far.ended[i] ? tokens == 0 : !waits_for_reply(each) && tokens >= room)
      refuse("want a token in each answer that has ended, and room for one in each other");
    for (const auto token : each.tokens)
      if (token < 0 || token >= config.vocab_size)
        refuse("want tokens of the vocabulary");
  }
}

} // namespace millrace::rollout
