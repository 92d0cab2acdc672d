#pragma once

#include "runtime/model/inference_operations.hpp"
#include "runtime/model/kv_cache.hpp"
#include "runtime/rollout/engine.hpp"
#include "runtime/rollout/group_state.hpp"
#include "runtime/rollout/shared_prefixes.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

namespace millrace::rollout {

/// What the engine's files share.
struct engine::state {
  std::shared_ptr<const model::decoder> policy, next;
  std::shared_ptr<const text::tokenizer> tok;
  std::uint32_t version = 0, next_version = 0;
  kv_on_flip next_cache = kv_on_flip::keep;
  engine_options options;
  kernels::thread_team team;
  model::inference_operations operations{team};
  std::shared_ptr<model::kv_pool> pool;
  shared_prefixes prefixes;
  std::int64_t most_held = 0;                      ///< blocks of those that ran, after a step
  std::deque<std::unique_ptr<group_state>> groups; ///< in the order of admission, `first` ones before
  std::vector<slot> slots;
  std::uint64_t admitted = 0;
  bool gives_slots = true;
  step_stats stats;
  std::vector<drawn_token> told;
  std::vector<ended_turn> turns, turns_again;

  state(std::shared_ptr<const model::decoder> first, std::shared_ptr<const text::tokenizer> tokenizer,
        std::uint32_t first_version, engine_options given)
      : policy(std::move(first)), tok(std::move(tokenizer)), version(first_version), options(given),
        team(given.threads), pool(model::kv_pool::make(policy->config(), policy->device(), options.cached)),
        prefixes(pool, options.prefix_cache) {
    for (std::int32_t i = 0; i < options.slots; ++i)
      slots.push_back({nullptr, 0, model::kv_sequence(pool)});
  }

  std::deque<std::unique_ptr<group_state>>::iterator find(std::uint64_t group) {
    return std::ranges::find_if(groups, [&](const auto& g) { return g->request.group == group; });
  }

  bool waits_for_prompt(const group_state& group) const {
    return std::ranges::any_of(slots, [&](const slot& s) { return s.group == &group && s.awaits_prompt(); });
  }

  bool may_place(group_state& group) const { return gives_slots && !group.withheld && !group.all_placed(); }

  void flip();
  void stamp_unread(group_state& group) const;
  void begin_again(slot& who); ///< its keys and values are computed again
  void fill_slots();
  void find_prefixes();
  void make_room(); ///< for what the next step computes; without a bound, from what nobody uses
  step_plan plan();
  /// @param left prompt rows that the step still computes
  void plan_slot(slot& s, step_plan& p, std::int64_t& left);
  void plan_prompt(group_state& g, step_plan& p, std::int64_t& left);
  void draw(const step_plan& plan, const at::Tensor& hidden);
  void take(slot& who, std::int32_t token, float logprob);

  /// Tokens of an answer with which its context is full.
  std::int64_t room_of(const group_state& group, const answer& a) const {
    return options.max_context + group.sequence_begin(a);
  }

  void release(slot& who);
  void release_all(const group_state& group);
  void tell_turns_again(group_state& group); ///< texts are not handed over, nor whether the environment was asked
  void take_turns_again();
  void end_turn(slot& who); ///< the answer leaves its slot until its environment replies
  void cut_off();           ///< answers that are not kept whatever else they sample
};

} // namespace millrace::rollout
