#include "runtime/rollout/engine.hpp"

#include "kernels/counter_random.hpp"
#include "runtime/model/inference_operations.hpp"
#include "runtime/rollout/answer_end.hpp"
#include "runtime/rollout/cache_room.hpp"
#include "runtime/rollout/engine_state.hpp"
#include "runtime/rollout/request_check.hpp"
#include "runtime/rollout/shared_prefixes.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <deque>
#include <stdexcept>
#include <string>
#include <utility>

namespace millrace::rollout {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// The next token is the first that is sampled in a segment.
bool begins_segment(const answer& a) {
  return !a.turns.empty() && a.turns.back().new_segment && a.turns.back().begin == std::ssize(a.tokens);
}

void check_packed(const std::shared_ptr<const model::decoder>& policy) {
  if (!policy || (policy->device().is_cpu() && !policy->head().packed))
    throw std::invalid_argument("rollout::engine: the policy is not packed");
}

} // namespace

void engine::state::begin_again(slot& who) {
  who.started = false;
  who.anew = false;
  who.mixed = false;
  who.sequence = model::kv_sequence(pool);
}

void engine::state::release(slot& who) {
  prefixes.keep(who);
  begin_again(who);
  who.group = nullptr;
  who.parked = false;
}

void engine::state::release_all(const group_state& group) {
  for (auto& who : slots)
    if (who.group == &group)
      release(who);
}

void engine::state::find_prefixes() {
  for (auto& group : groups)
    if (waits_for_prompt(*group))
      stats.found_tokens += prefixes.give(*group);
  for (auto& who : slots)
    if (who.runs())
      stats.found_tokens += prefixes.give(who);
}

void engine::state::make_room() {
  if (options.cache_bytes == 0) {
    const std::int64_t idle = prefixes.idle();
    most_held = std::max(most_held, pool->blocks_in_use() - idle);
    prefixes.let_go(idle - most_held / 4);
    return;
  }
  const cache_room room(groups, slots, options.prefill_rows);
  const auto in_use = [&] { return pool->blocks_in_use() - prefixes.idle(); };
  const auto lacks = [&](std::int64_t more) {
    return room.wanted() + more > options.cache_bytes / pool->bytes_per_block() - in_use();
  };
  const auto drop_prompt = [&](group_state* of) {
    if (of) {
      of->computed = 0;
      of->prompt = model::kv_sequence(pool);
    }
    return of != nullptr;
  };
  const auto drop_idle = [&] { // or the keys of an answer that waits for its environment
    if (drop_prompt(room.idle_prompt()))
      return true;
    group_state* away = room.away();
    if (away)
      away->kept_keys.erase(std::prev(away->kept_keys.end()));
    return away != nullptr;
  };
  while (lacks(0)) {
    if (drop_idle())
      continue;
    slot* newest = room.newest();
    if (!newest && drop_prompt(room.spare_prompt()))
      continue;
    if (!newest)
      throw std::logic_error("rollout::engine: the cache has no room for one answer");
    prefixes.keep(*newest);
    begin_again(*newest);
    newest->parked = true;
  }
  // A block for each answer that runs stays free, or who comes back would soon be put back again.
  for (slot* waits : room.parked()) {
    const auto running = std::ranges::count_if(slots, [](const slot& s) { return s.runs(); });
    waits->parked = false;
    const auto found = (waits->awaits_prompt() ? prefixes.give(*waits->group) : 0) + prefixes.give(*waits);
    waits->parked = running > 0 && lacks(running);
    if (waits->parked)
      begin_again(*waits);
    while (lacks(0) && drop_idle()) // what was given is not idle any more
      ;
    if (waits->parked)
      break;
    stats.found_tokens += found;
  }
  prefixes.let_go(room.wanted() + pool->blocks_in_use() - options.cache_bytes / pool->bytes_per_block());
}

void engine::state::cut_off() {
  for (auto& group : groups)
    if (group->oversampled())
      group->find_last_kept();
  for (auto& s : slots)
    if (s.group && s.group->settled(s.index))
      release(s);
}

/// Prompts are computed under the version that draws from them, and so is what an answer has when it goes on: only keys
/// and values that a token was drawn from may stay.
void engine::state::flip() {
  policy = std::exchange(next, nullptr);
  version = next_version;
  for (auto& group : groups) {
    group->computed = 0;
    group->prompt = model::kv_sequence(pool);
    if (next_cache == kv_on_flip::recompute)
      group->kept_keys.clear();
    for (auto& [answer, keys] : group->kept_keys)
      keys.mixed = true;
  }
  for (auto& group : groups)
    stamp_unread(*group);
  for (auto& s : slots) {
    if (s.started && (next_cache == kv_on_flip::recompute || s.anew))
      begin_again(s);
    s.mixed = s.started;
  }
  prefixes.clear();
}

void engine::state::fill_slots() {
  auto group = groups.begin();
  for (auto& s : slots) {
    if (s.group)
      continue;
    while (group != groups.end() && !may_place(**group))
      ++group;
    if (group == groups.end())
      return;
    auto& g = **group;
    if (g.result.queued_s == 0)
      g.result.queued_s = seconds_since(g.admitted);
    s.group = &g;
    s.index = g.next_placed();
    auto kept = g.kept_keys.extract(s.index);
    s.started = bool(kept);
    if (kept) {
      s.sequence = std::move(kept.mapped().sequence);
      s.mixed = kept.mapped().mixed;
    }
    s.parked = options.cache_bytes > 0 && !s.started; // make_room lets it in
  }
}

void engine::state::plan_slot(slot& s, step_plan& p, std::int64_t& left) {
  if (!s.started) {
    s.anew = !s.text().tokens.empty();
    if (s.begin() > 0)
      s.sequence = model::kv_sequence(pool);
    else // one that comes to a prompt computed earlier starts with the prompt's last token
      s.sequence = s.group->prompt.fork(s.group->prompt_tokens() - (s.anew ? 0 : 1));
    s.started = true;
  }
  const std::int64_t missing = s.missing();
  const std::int64_t count = missing == 1 ? 1 : std::min(missing, left);
  if (count == 0)
    return;
  if (missing > 1) {
    p.prompt_rows += count;
    left -= count;
  }
  const std::int64_t first = s.sequence.length();
  s.sequence.grow(count);
  for (std::int64_t position = first; position < first + count; ++position)
    p.rows.push_back({s.token_at(position), &s.sequence, position});
  if (count < missing)
    return;
  p.ask();
  p.draw(s);
}

void engine::state::plan_prompt(group_state& g, step_plan& p, std::int64_t& left) {
  const std::int64_t most = std::min(g.prompt_tokens() - g.computed, left);
  left -= most;
  const std::int64_t found = most > 0 ? prefixes.give(g) : 0; // of what groups before it compute in this step
  stats.found_tokens += found;
  const std::int64_t count = most - found; // no more blocks than there is room for
  if (count <= 0)
    return;
  g.prompt.grow(count);
  prefixes.keep(g);
  p.prompt_rows += count;
  g.result.prompt_tokens_computed += count;
  for (; g.computed < g.prompt.length(); ++g.computed)
    p.rows.push_back({g.request.prompt[static_cast<std::size_t>(g.computed)], &g.prompt, g.computed});
  if (!g.prompt_done())
    return;
  p.ask();
  for (auto& s : slots)
    if (s.group == &g && s.awaits_prompt() && s.text().tokens.empty())
      p.draw(s);
}

step_plan engine::state::plan() {
  step_plan p;
  std::int64_t left = options.prefill_rows;
  for (const auto& turn : rows_by_age(slots)) {
    if (turn.prompt)
      plan_prompt(*turn.who->group, p, left);
    else
      plan_slot(*turn.who, p, left);
  }
  return p;
}

void engine::state::draw(const step_plan& plan, const at::Tensor& hidden) {
  std::vector<model::draw> draws;
  for (const auto& [asked, who] : plan.draws) {
    const auto& request = who->group->request;
    const bool greedy = who->index >= request.answers - request.greedy;
    const kernels::sampling_rule rule{.temperature = greedy ? 0.0f : static_cast<float>(request.how.temperature),
                                      .top_k = request.how.top_k,
                                      .top_p = static_cast<float>(request.how.top_p),
                                      .min_p = static_cast<float>(request.how.min_p)};
    draws.push_back(
        {static_cast<std::int64_t>(asked), rule,
         kernels::uniform(request.seed, static_cast<std::uint64_t>(who->index), who->text().tokens.size())});
  }
  const auto drawn = operations.sample(operations.logits(*policy, hidden, plan.asked), draws);
  for (std::size_t i = 0; i < drawn.size(); ++i)
    take(*plan.draws[i].second, drawn[i].token, drawn[i].logprob);
}

void engine::state::take(slot& who, std::int32_t token, float logprob) {
  auto& group = *who.group;
  auto& out = who.text();
  if (std::exchange(who.anew, false) && !begins_segment(out))
    out.recomputed.push_back(static_cast<std::int32_t>(out.tokens.size()));
  out.tokens.push_back(token);
  out.logprob.push_back(logprob);
  out.version.push_back(version);
  told.push_back({group.request.group, who.index, token, logprob, std::nullopt});
  if (group.result.first_token_s == 0)
    group.result.first_token_s = seconds_since(group.admitted);
  const auto& how = group.request.how;
  const auto first = out.tokens.size() - last_turn(out).size();
  const auto end = end_of_answer(out.tokens, first, how, tok.get(), room_of(group, out));
  if (!end || group.request.episodes) {
    if (!who.started)
      who.sequence = group.prompt.fork(group.prompt_tokens());
    who.started = true;
  }
  if (!end)
    return;
  out.finish = *end;
  out.text = text_of_answer(last_turn(out), *end, how, tok.get());
  if (group.request.episodes) {
    out.turns.back().end = static_cast<std::int32_t>(out.tokens.size());
    end_turn(who);
    return;
  }
  told.back().end = end;
  group.ended[static_cast<std::size_t>(who.index)] = 1;
  release(who);
}

engine::engine(std::shared_ptr<const model::decoder> policy, std::shared_ptr<const text::tokenizer> tok,
               std::uint32_t version, engine_options options) {
  check_packed(policy);
  if (options.slots < 1 || options.prefill_rows < 1 || options.threads < 1 || options.max_context < 0)
    throw std::invalid_argument("rollout::engine: want slots, prefill_rows and threads >= 1, max_context >= 0");
  const std::int64_t context = policy->config().max_positions;
  options.max_context = options.max_context == 0 ? context : std::min(options.max_context, context);
  check_cache(options.cache_bytes, options.cached, policy->config(), options.max_context);
  state_ = std::make_unique<state>(std::move(policy), std::move(tok), version, options);
}

engine::~engine() = default;
engine::engine(engine&&) noexcept = default;
engine& engine::operator=(engine&&) noexcept = default;

void engine::admit(group_request request, std::optional<partial_group> so_far) {
  auto& s = *state_;
  const auto tokens = static_cast<std::int64_t>(request.prompt.size());
  if (tokens == 0)
    throw input_error("prompt: no tokens, want at least one");
  if (tokens > s.options.max_context - 1)
    throw input_error("prompt: " + std::to_string(tokens) + " tokens, want at most "
                      + std::to_string(s.options.max_context - 1) + " (the context is "
                      + std::to_string(s.options.max_context) + ")");
  check_request(request, s.policy->config(), s.tok.get());
  if (so_far)
    check_partial(*so_far, request, s.policy->config(), s.options.max_context);
  if (s.find(request.group) != s.groups.end())
    throw std::invalid_argument("rollout::engine: group " + std::to_string(request.group) + " is already here");
  auto group = std::make_unique<group_state>(
      group_state{.request = {}, .prompt = model::kv_sequence(s.pool), .ended = {}, .last_kept = {}, .result = {}});
  group->admission = s.admitted++;
  group->result.group = request.group;
  group->result.prompt_tokens = tokens;
  if (so_far) {
    group->result.answers = std::move(so_far->answers);
    group->ended = std::move(so_far->ended);
    for (std::size_t i = 0; i < group->ended.size(); ++i)
      if (auto& done = group->result.answers[i]; group->ended[i]) // texts are not handed over
        done.text = text_of_answer(last_turn(done), done.finish, request.how, s.tok.get());
  }
  group->result.answers.resize(static_cast<std::size_t>(request.answers));
  if (request.episodes)
    for (auto& begun : group->result.answers)
      if (begun.turns.empty())
        begun.turns.emplace_back();
  group->ended.resize(static_cast<std::size_t>(request.answers));
  group->request = std::move(request);
  if (group->oversampled())
    group->find_last_kept();
  s.stamp_unread(*group);
  s.tell_turns_again(*group);
  const auto behind = group->request.first
                          ? std::ranges::find_if(s.groups, [](const auto& g) { return !g->request.first; })
                          : s.groups.end();
  s.groups.insert(behind, std::move(group));
}

bool engine::cancel(std::uint64_t group) {
  auto& s = *state_;
  const auto found = s.find(group);
  if (found == s.groups.end())
    return false;
  s.release_all(**found);
  s.groups.erase(found);
  return true;
}

std::optional<partial_group> engine::interrupt(std::uint64_t group) {
  const auto found = state_->find(group);
  if (found == state_->groups.end())
    return std::nullopt;
  state_->release_all(**found); // while their tokens are here
  partial_group so_far{group, std::move((*found)->result.answers), std::move((*found)->ended)};
  cancel(group);
  return so_far;
}

void engine::hand_over_weights(std::shared_ptr<const model::decoder> next, std::uint32_t version, kv_on_flip cache) {
  check_packed(next);
  const auto &a = next->config(), &b = state_->policy->config();
  if (a.hidden_size != b.hidden_size || a.layers != b.layers || a.kv_heads != b.kv_heads || a.head_dim != b.head_dim
      || a.vocab_size != b.vocab_size || next->device() != state_->policy->device())
    throw std::invalid_argument("rollout::engine: the policy handed over is of another shape or on another device");
  state_->next = std::move(next);
  state_->next_version = version;
  state_->next_cache = cache;
}

void engine::give_slots(bool on) {
  state_->gives_slots = on;
}

bool engine::withhold_slots(std::uint64_t group) {
  const auto found = state_->find(group);
  if (found == state_->groups.end())
    return false;
  (*found)->withheld = true;
  return has_slot(group);
}

bool engine::has_slot(std::uint64_t group) const {
  return std::ranges::any_of(state_->slots, [&](const slot& s) { return s.group && s.group->request.group == group; });
}

std::vector<finished_group> engine::step() {
  auto& s = *state_;
  s.stats = {};
  s.told.clear();
  s.turns.clear();
  s.take_turns_again();
  if (s.next)
    s.flip();
  if (s.groups.empty())
    return {};
  const auto start = std::chrono::steady_clock::now();
  s.fill_slots();
  s.find_prefixes();
  s.make_room();
  s.stats.occupied = s.options.slots - free_slots();
  s.stats.parked = static_cast<std::int32_t>(std::ranges::count_if(s.slots, &slot::parked));
  const step_plan plan = s.plan();
  if (!plan.rows.empty()) { // else what came had ended before
    const at::Tensor hidden = s.operations.forward(*s.policy, plan.rows);
    if (!plan.draws.empty())
      s.draw(plan, hidden);
  }
  s.cut_off();
  std::vector<finished_group> finished;
  std::erase_if(s.groups, [&](auto& g) {
    if (!g->done())
      return false;
    g->result.total_s = seconds_since(g->admitted);
    if (g->oversampled())
      g->keep_shortest();
    finished.push_back(std::move(g->result));
    return true;
  });
  const double all = seconds_since(start);
  s.stats.prompt_tokens = plan.prompt_rows;
  s.stats.sampled_tokens = static_cast<std::int64_t>(plan.draws.size());
  s.stats.prefill_s =
      all * static_cast<double>(plan.prompt_rows) / static_cast<double>(std::max<std::size_t>(plan.rows.size(), 1));
  s.stats.decode_s = all - s.stats.prefill_s;
  return finished;
}

bool engine::idle() const {
  return state_->groups.empty();
}

bool engine::waits() const {
  return free_slots() == state_->options.slots && state_->turns_again.empty()
         && std::ranges::none_of(state_->groups, [&](const auto& g) { return g->done() || state_->may_place(*g); });
}

std::int32_t engine::free_slots() const {
  return static_cast<std::int32_t>(std::ranges::count_if(state_->slots, [](const auto& s) { return !s.group; }));
}

std::int64_t engine::waiting_answers() const {
  std::int64_t count = 0;
  for (const auto& g : state_->groups) {
    count += static_cast<std::int64_t>(g->back.size());
    for (std::int32_t i = g->placed; i < g->request.answers; ++i)
      count += !g->settled(i) && !g->is_away(i);
  }
  return count;
}

std::int64_t engine::groups() const {
  return static_cast<std::int64_t>(state_->groups.size());
}

std::uint32_t engine::version() const {
  return state_->next ? state_->next_version : state_->version;
}

std::int64_t engine::max_context() const {
  return state_->options.max_context;
}

std::int64_t engine::cache_bytes() const {
  return state_->pool->blocks_allocated() * state_->pool->bytes_per_block();
}

const step_stats& engine::last_step() const {
  return state_->stats;
}

const std::vector<drawn_token>& engine::last_tokens() const {
  return state_->told;
}

const std::vector<ended_turn>& engine::last_turns() const {
  return state_->turns;
}

} // namespace millrace::rollout
