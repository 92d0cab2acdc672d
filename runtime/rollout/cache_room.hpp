#pragma once

#include "runtime/rollout/group_state.hpp"

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

namespace millrace::rollout {

/// Who computes in a step: an answer, or the prompt that it is the first to wait for.
struct row_owner {
  slot* who = nullptr;
  bool prompt = false;
};

/// In the order in which they get a step's rows of prompts: the oldest answer first. It is never put back for want of
/// room, so with its rows first it always comes to an end.
std::vector<row_owner> rows_by_age(std::vector<slot>& slots);

/// Who holds and who wants blocks of a bounded cache. Looks at the engine's groups and slots as they are when asked.
class cache_room {
public:
  /// @param prefill_rows as `engine_options` has it
  cache_room(const std::deque<std::unique_ptr<group_state>>& groups, std::vector<slot>& slots,
             std::int64_t prefill_rows)
      : groups_(groups), slots_(slots), prefill_rows_(prefill_rows) {}

  /// Blocks that the next step takes at most.
  std::int64_t wanted() const;

  /// A group with keys and values of its prompt and no answer that runs; nullptr if there is none.
  group_state* idle_prompt() const;

  /// A group with keys and values of its prompt that no running answer waits for; nullptr if there is none. After a
  /// flip they may be there beside those that a running answer has kept.
  group_state* spare_prompt() const;

  /// The newest group with keys and values of answers without a slot; nullptr if there is none.
  group_state* away() const;

  /// The answer that came last of those that run; nullptr where no other runs.
  slot* newest() const;

  /// Answers that wait for room, the oldest first.
  std::vector<slot*> parked() const;

private:
  std::int64_t wanted_by(const slot& who, std::int64_t& prefill_left) const;
  std::int64_t wanted_by_prompt(const group_state& group, std::int64_t& prefill_left) const;

  const std::deque<std::unique_ptr<group_state>>& groups_;
  std::vector<slot>& slots_;
  std::int64_t prefill_rows_;
};

/// @throws input_error where a bounded cache (`bytes` > 0) does not hold one answer that fills the context
void check_cache(std::int64_t bytes, sampling_precision cached, const model::model_config& config,
                 std::int64_t max_context);

} // namespace millrace::rollout
