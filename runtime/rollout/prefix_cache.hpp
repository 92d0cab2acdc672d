#pragma once

#include "kernels/cached_attention.hpp"
#include "runtime/model/kv_cache.hpp"

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <span>

namespace millrace::rollout {

/// Keys and values that were computed, found again by the tokens that they are of: whoever begins with the same tokens
/// shares them. A tree of whole blocks: a block's place is under the block of the tokens before it. All are of one
/// version of the weights, which is the caller's business (`clear`).
///
/// A block stays while somebody else holds it, and after that until `let_go` takes it.
class prefix_cache {
public:
  explicit prefix_cache(std::shared_ptr<model::kv_pool> pool) : pool_(std::move(pool)) {}

  /// The whole blocks of the longest beginning of `tokens` that is here. It is used now.
  model::kv_sequence find(std::span<const std::int32_t> tokens);

  /// Keeps the whole blocks of a sequence, where none of the same tokens are here. They are used now.
  /// @param tokens of the sequence, from its first on; at least its length
  void keep(std::span<const std::int32_t> tokens, const model::kv_sequence& sequence);

  /// Blocks that `let_go` could let go: nobody else holds them, nor what is behind them.
  std::int64_t idle();

  /// Lets so many blocks go that are idle, or all of those: the least recently used first, and none before those behind
  /// it.
  void let_go(std::int64_t blocks);

  void clear();

private:
  using block_tokens = std::array<std::int32_t, kernels::cache_block_tokens>;

  struct place {
    std::uint64_t before = 0; ///< id of the block before it; 0: there is none
    block_tokens tokens = {};

    auto operator<=>(const place&) const = default;
  };

  struct entry {
    std::uint64_t id = 0;
    std::shared_ptr<at::Tensor> block;
    std::map<place, entry>::iterator before; ///< end: there is none
    std::int64_t behind = 0;                 ///< blocks whose `before` it is
    std::uint64_t used = 0;
    bool holds_behind = false; ///< for `idle`

    bool is_held() const { return block.use_count() > 1; }
  };

  using entries = std::map<place, entry>;

  static place place_of(std::uint64_t before, std::span<const std::int32_t> tokens);

  std::shared_ptr<model::kv_pool> pool_;
  entries blocks_;
  std::uint64_t ids_ = 0;
  std::uint64_t uses_ = 0;
};

} // namespace millrace::rollout
