#include "runtime/rollout/cache_room.hpp"

#include "kernels/cached_attention.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <string>

namespace millrace::rollout {
namespace {

constexpr std::int64_t block_tokens = kernels::cache_block_tokens;

std::int64_t blocks_for(std::int64_t tokens) {
  return (tokens + block_tokens - 1) / block_tokens;
}

bool is_older(const slot* a, const slot* b) {
  return a->group->admission != b->group->admission ? a->group->admission < b->group->admission : a->index < b->index;
}

} // namespace

std::vector<row_owner> rows_by_age(std::vector<slot>& slots) {
  std::vector<slot*> run;
  for (slot& s : slots)
    if (s.runs())
      run.push_back(&s);
  std::ranges::sort(run, is_older);
  std::vector<row_owner> found;
  for (slot* s : run) {
    const bool prompt = s->awaits_prompt() && !s->group->prompt_done();
    const auto same = [&](const row_owner& other) { return other.prompt && other.who->group == s->group; };
    if (!prompt || std::ranges::none_of(found, same))
      found.push_back({s, prompt});
  }
  return found;
}

std::int64_t cache_room::wanted_by(const slot& who, std::int64_t& prefill_left) const {
  const std::int64_t prompt = std::max<std::int64_t>(0, -who.begin());
  // One that begins behind the prompt shares its full blocks.
  const std::int64_t length = who.started ? who.sequence.length() : prompt - (who.text().tokens.empty() ? 1 : 0);
  const std::int64_t held = who.started ? blocks_for(length) : length / block_tokens;
  const std::int64_t missing = who.tokens() - length;
  const std::int64_t count = missing == 1 ? 1 : std::min(missing, prefill_left);
  if (missing > 1)
    prefill_left -= count;
  return blocks_for(length + count) - held;
}

std::int64_t cache_room::wanted_by_prompt(const group_state& group, std::int64_t& prefill_left) const {
  const auto waits = [&](const slot& s) { return s.group == &group && s.awaits_prompt(); };
  if (group.prompt_done() || std::ranges::none_of(slots_, waits))
    return 0;
  const std::int64_t count = std::min(group.prompt_tokens() - group.computed, prefill_left);
  prefill_left -= count;
  std::int64_t wanted = blocks_for(group.computed + count) - blocks_for(group.prompt.length());
  // Who draws from the finished prompt gets a copy of its last block, if that is not full.
  if (group.computed + count == group.prompt_tokens() && group.prompt_tokens() % block_tokens != 0)
    wanted += std::ranges::count_if(slots_, waits);
  return wanted;
}

std::int64_t cache_room::wanted() const {
  std::int64_t prefill_left = prefill_rows_, blocks = 0;
  for (const auto& turn : rows_by_age(slots_))
    blocks += turn.prompt ? wanted_by_prompt(*turn.who->group, prefill_left) : wanted_by(*turn.who, prefill_left);
  return blocks;
}

group_state* cache_room::idle_prompt() const {
  for (const auto& group : groups_)
    if (group->prompt.length() > 0
        && std::ranges::none_of(slots_, [&](const slot& s) { return s.runs() && s.group == group.get(); }))
      return group.get();
  return nullptr;
}

group_state* cache_room::spare_prompt() const {
  for (const auto& group : groups_)
    if (group->prompt.length() > 0
        && std::ranges::none_of(slots_, [&](const slot& s) { return s.group == group.get() && s.awaits_prompt(); }))
      return group.get();
  return nullptr;
}

group_state* cache_room::away() const {
  const auto found =
      std::find_if(groups_.rbegin(), groups_.rend(), [](const auto& group) { return !group->kept_keys.empty(); });
  return found == groups_.rend() ? nullptr : found->get();
}

slot* cache_room::newest() const {
  slot* found = nullptr;
  std::int64_t running = 0;
  for (slot& s : slots_)
    if (s.runs()) {
      ++running;
      if (!found || is_older(found, &s))
        found = &s;
    }
  return running > 1 ? found : nullptr;
}

std::vector<slot*> cache_room::parked() const {
  std::vector<slot*> found;
  for (slot& s : slots_)
    if (s.parked)
      found.push_back(&s);
  std::ranges::sort(found, is_older);
  return found;
}

void check_cache(std::int64_t bytes, sampling_precision cached, const model::model_config& config,
                 std::int64_t max_context) {
  if (bytes == 0)
    return;
  // The prompt's last block may be there twice: the prompt's own and the answer's copy.
  const auto pool = model::kv_pool::make(config, at::kCPU, cached);
  const std::int64_t one = (blocks_for(max_context) + 1) * pool->bytes_per_block();
  if (bytes < one)
    throw input_error("cache_bytes: " + std::to_string(bytes) + ", want at least " + std::to_string(one)
                      + ": one answer of " + std::to_string(max_context) + " tokens, prompt and all");
}

} // namespace millrace::rollout
