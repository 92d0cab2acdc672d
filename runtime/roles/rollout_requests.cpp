#include "runtime/roles/rollout_requests.hpp"

#include "runtime/environments/environment.hpp"
#include "runtime/model/chat_tokens.hpp"
#include "runtime/roles/role_sampling.hpp"
#include "runtime/text/tool_format.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace millrace::roles {
namespace {

/// Calls of tools in turns that a client brought stand in tags; here they stand as the model's family writes them.
std::vector<chat_turn> in_words_of(const text::chat_template& chat, std::vector<chat_turn> turns) {
  for (auto& turn : turns) {
    if (turn.role != "assistant" || !chat.calls_in(turn.content).calls.empty())
      continue;
    const auto tagged = text::tagged_calls_in(turn.content);
    if (!tagged.calls.empty() && std::ranges::all_of(tagged.calls, [](const auto& c) { return c.error.empty(); }))
      turn.content = chat.with_calls(tagged);
  }
  return turns;
}

} // namespace

std::int64_t longest_prompt(const pipeline::pipeline& p) {
  std::int64_t longest = 0;
  for (const auto* role : p.of<pipeline::source_table>())
    longest = std::max(longest, std::get<pipeline::source_table>(role->options).max_prompt_tokens);
  return longest;
}

rollout_requests::rollout_requests(const pipeline::pipeline& p, const pipeline::rollout_table& table,
                                   model::checkpoint words)
    : words_(std::move(words)), how_(sampling_of(table, words_.config)), longest_prompt_(longest_prompt(p)),
      slots_(static_cast<std::int32_t>(table.slots)), cache_bytes_(table.cache_bytes.bytes), cached_(table.cache_dtype),
      prefix_cache_(table.prefix_cache), greedy_(table.greedy_baseline ? 1 : 0), episodes_(!table.environment.empty()) {
  rollout::check_cache(cache_bytes_, cached_, words_.config, longest_sequence());
  if (episodes_) {
    const auto& plays = std::get<pipeline::environment_table>(p.at(table.environment).options);
    with_clients_ = environments::find_environment_type(plays.type)->clients;
  }
}

rollout::group_request rollout_requests::make(const generate_group& ask, const std::vector<chat_turn>& turns,
                                              const std::vector<std::string>& tools) const {
  auto prompt = episodes_ ? model::encode_chat(words_, in_words_of(model::chat_of(words_), turns), tools)
                          : model::encode_chat(words_, turns, tools);
  const auto length = static_cast<std::int64_t>(prompt.size());
  const auto context_tokens = words_.config.max_positions;
  if (length > longest_prompt_)
    throw input_error("a prompt of " + std::to_string(length)
                      + " tokens, want at most max_prompt_tokens = " + std::to_string(longest_prompt_));
  if (length + 1 > context_tokens)
    throw input_error("a prompt of " + std::to_string(length) + " tokens in a context of "
                      + std::to_string(context_tokens));
  rollout::group_request request;
  request.group = ask.group;
  request.prompt = std::move(prompt);
  request.greedy = greedy_;
  request.answers = std::max(ask.answers, ask.started) + greedy_;
  request.needed = ask.started > ask.answers ? ask.answers : 0;
  request.seed = ask.seed;
  request.how = how_;
  request.episodes = episodes_;
  request.tells_tokens = with_clients_;
  return request;
}

sampled_turn rollout_requests::sampled(const rollout::ended_turn& turn) const {
  if (!turn.sampled)
    return {};
  auto found = *turn.sampled;
  for (const auto token : found.tokens)
    found.texts.emplace_back(words_.tok->bytes(token));
  return found;
}

called_turn rollout_requests::calls_in(const std::string& turn) const {
  return model::chat_of(words_).calls_in(turn);
}

bool rollout_requests::with_history() const {
  return model::chat_of(words_).leaves_thoughts_out();
}

rollout::turn_reply reply_in_tokens(const model::checkpoint& words, const rollout::ended_turn& turn,
                                    const turn_taken& said, std::span<const std::string> tools) {
  rollout::turn_reply reply{.reward = static_cast<float>(said.reward), .done = said.done};
  if (said.done)
    return reply;
  const auto& chat = model::chat_of(words);
  reply.new_segment = said.rewritten || (!said.history.empty() && chat.rewrites(said.history, said.messages));
  if (!reply.new_segment) {
    reply.tokens = model::encode_reply(words, std::span(&turn.last_token, 1), said.messages);
    return reply;
  }
  auto all = said.history;
  all.insert(all.end(), said.messages.begin(), said.messages.end());
  reply.tokens = model::encode_chat(words, in_words_of(chat, std::move(all)), tools);
  return reply;
}

bool fits(const rollout::ended_turn& turn, const rollout::turn_reply& reply) {
  return std::ssize(reply.tokens) < (reply.new_segment ? turn.room_of_segment : turn.room);
}

rollout::engine_options rollout_requests::engine_options(int threads) const {
  rollout::engine_options options;
  options.slots = slots_;
  options.threads = threads;
  options.max_context = longest_sequence();
  options.cache_bytes = cache_bytes_;
  options.cached = cached_;
  options.prefix_cache = prefix_cache_;
  return options;
}

std::int64_t rollout_requests::longest_sequence() const {
  return std::min(words_.config.max_positions, longest_prompt_ + how_.max_new_tokens);
}

} // namespace millrace::roles
