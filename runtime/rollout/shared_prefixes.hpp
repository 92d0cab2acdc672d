#pragma once

#include "runtime/rollout/group_state.hpp"
#include "runtime/rollout/prefix_cache.hpp"

#include <cstdint>
#include <memory>

namespace millrace::rollout {

/// What the prompts and answers of an engine take from its `prefix_cache`, and leave there.
class shared_prefixes {
public:
  /// @param on false: nothing is kept, nothing is found
  shared_prefixes(std::shared_ptr<model::kv_pool> pool, bool on) : on_(on), cache_(std::move(pool)) {}

  /// Gives a prompt the keys and values that are here, where they are more than it has. Its last token is never among
  /// them: somebody draws from it. @returns tokens that it need not compute
  std::int64_t give(group_state& group);

  /// The same for an answer that goes on, whose prompt is computed.
  std::int64_t give(slot& who);

  /// Keeps what is computed of a prompt, or will be by the next forward pass.
  void keep(const group_state& group);

  /// Keeps an answer with its prompt; not if weights of several versions have computed it.
  void keep(const slot& who);

  /// As `prefix_cache`.
  std::int64_t idle() { return cache_.idle(); }

  void let_go(std::int64_t blocks) { cache_.let_go(blocks); }

  void clear() { cache_.clear(); }

private:
  bool on_;
  prefix_cache cache_;
};

} // namespace millrace::rollout
