#include "runtime/rollout/answer_end.hpp"
#include "runtime/rollout/engine_state.hpp"
#include "runtime/rollout/request_check.hpp"

/// Episodes: turns that end, and replies to them.
namespace millrace::rollout {
namespace {

std::shared_ptr<const sampled_turn> tokens_of_last_turn(const group_state& group, const answer& a) {
  const auto tokens = std::span(a.tokens);
  const auto segment = static_cast<std::size_t>(last_segment(a)),
             begin = static_cast<std::size_t>(a.turns.back().begin);
  const auto made = std::make_shared<sampled_turn>();
  if (segment == 0)
    made->behind = group.request.prompt;
  const auto read = tokens.subspan(segment, begin - segment), written = tokens.subspan(begin);
  made->behind.insert(made->behind.end(), read.begin(), read.end());
  made->tokens.assign(written.begin(), written.end());
  made->logprobs.assign(a.logprob.begin() + a.turns.back().begin, a.logprob.end());
  return made;
}

/// The last turn of an answer that has ended it.
/// @param room as `engine::state::room_of`
ended_turn last_turn_of(const group_state& group, std::int32_t index, std::int64_t room, std::int64_t max_context) {
  const auto& out = group.result.answers[static_cast<std::size_t>(index)];
  const auto left = group.request.how.max_new_tokens - std::ssize(out.tokens);
  return {.group = group.request.group,
          .answer = index,
          .turn = static_cast<std::int32_t>(out.turns.size()) - 1,
          .text = out.text,
          .finish = out.finish,
          .last_token = out.tokens.back(),
          .read = out.turns.back().begin - group.sequence_begin(out),
          .written = std::ssize(out.tokens) - out.turns.back().begin,
          .room = std::max<std::int64_t>(0, std::min(left, room - std::ssize(out.tokens))),
          .room_of_segment = std::max<std::int64_t>(0, std::min(left, max_context)),
          .sampled = group.request.tells_tokens ? tokens_of_last_turn(group, out) : nullptr};
}

} // namespace

void engine::state::end_turn(slot& who) {
  auto& group = *who.group;
  turns.push_back(last_turn_of(group, who.index, room_of(group, who.text()), options.max_context));
  prefixes.keep(who);
  group.kept_keys.insert_or_assign(who.index, waiting_keys{.sequence = std::move(who.sequence), .mixed = who.mixed});
  who.started = false;
  release(who);
}

void engine::state::tell_turns_again(group_state& group) {
  for (std::int32_t i = 0; i < group.request.answers; ++i) {
    if (!group.is_away(i))
      continue;
    auto& out = group.result.answers[static_cast<std::size_t>(i)];
    const auto first = out.tokens.size() - last_turn(out).size();
    const auto how = end_of_answer(out.tokens, first, group.request.how, tok.get(), room_of(group, out));
    out.finish = how.value_or(finish_reason::length);
    out.text = text_of_answer(last_turn(out), out.finish, group.request.how, tok.get());
    turns_again.push_back(last_turn_of(group, i, room_of(group, out), options.max_context));
  }
}

/// Those that nobody has replied to meanwhile.
void engine::state::take_turns_again() {
  for (auto& turn : std::exchange(turns_again, {})) {
    const auto of = find(turn.group);
    if (of != groups.end() && (*of)->is_away(turn.answer)
        && std::ssize((*of)->result.answers[static_cast<std::size_t>(turn.answer)].turns) == turn.turn + 1)
      turns.push_back(std::move(turn));
  }
}

/// What an environment said is read under the present version where it was not read before.
void engine::state::stamp_unread(group_state& group) const {
  for (std::int32_t i = 0; i < group.request.answers; ++i) {
    auto& out = group.result.answers[static_cast<std::size_t>(i)];
    if (out.turns.size() < 2 || out.turns.back().begin != std::ssize(out.tokens))
      continue;
    const auto keys = group.kept_keys.find(i);
    const auto in = std::ranges::find_if(slots, [&](const slot& s) { return s.group == &group && s.index == i; });
    const auto computed = in != slots.end()               ? (in->anew ? 0 : in->sequence.length())
                          : keys != group.kept_keys.end() ? keys->second.sequence.length()
                                                          : 0; // what was begun anew begins again
    const auto said = std::int64_t{out.turns[out.turns.size() - 2].end};
    const auto first = std::max(said, computed + group.sequence_begin(out));
    std::fill(out.version.begin() + first, out.version.end(), version);
  }
}

bool engine::go_on(std::uint64_t group, std::int32_t answer, const turn_reply& reply) {
  auto& s = *state_;
  const auto found = s.find(group);
  if (found == s.groups.end() || answer < 0 || answer >= (*found)->request.answers || !(*found)->is_away(answer))
    return false;
  check_tokens(reply.tokens, s.policy->config());
  if (reply.new_segment && reply.tokens.empty())
    throw std::invalid_argument("rollout::engine: a segment of no tokens, want at least one");
  auto& g = **found;
  auto& out = g.result.answers[static_cast<std::size_t>(answer)];
  out.turns.back().reward = reply.reward;
  const auto longer = out.tokens.size() + reply.tokens.size();
  const auto room = reply.new_segment ? std::ssize(out.tokens) + s.options.max_context : s.room_of(g, out);
  const bool fits = !is_full(longer, g.request.how, room);
  if (reply.done || !fits) {
    if (!reply.done)
      out.finish = finish_reason::length;
    g.ended[static_cast<std::size_t>(answer)] = 1;
    g.kept_keys.erase(answer);
    if (g.oversampled())
      g.find_last_kept();
    return true;
  }
  out.tokens.insert(out.tokens.end(), reply.tokens.begin(), reply.tokens.end());
  out.logprob.resize(longer, 0);
  out.version.resize(longer, version());
  out.turns.push_back({.begin = static_cast<std::int32_t>(longer), .new_segment = reply.new_segment});
  if (reply.new_segment)
    g.kept_keys.erase(answer); // they are not of it
  if (answer < g.placed)       // else it has not had a slot here
    g.back.push_back(answer);
  return true;
}

} // namespace millrace::rollout
