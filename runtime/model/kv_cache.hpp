#pragma once

#include "kernels/bfloat16.hpp"
#include "runtime/model/model_config.hpp"
#include "runtime/words/precision.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

namespace millrace::model {

/// Blocks of keys and values: `kernels::cache_block_tokens` tokens of every layer each. Blocks are allocated when first
/// needed and kept for reuse; a pool outlives its blocks' users safely (they hold it). Thread-safe.
class kv_pool : public std::enable_shared_from_this<kv_pool> {
public:
  /// @param kept bfloat16 and int8 round keys and values once, when they are written
  static std::shared_ptr<kv_pool> make(const model_config& config, at::Device device = at::kCPU,
                                       sampling_precision kept = sampling_precision::float32);

  /// One block, its memory uninitialised; returns to the pool when the last holder lets go.
  std::shared_ptr<at::Tensor> take();

  kernels::storage stored_as() const { return stored_as_; }

  std::int64_t bytes_per_block() const;

  std::int64_t blocks_allocated() const;

  /// Blocks that somebody holds.
  std::int64_t blocks_in_use() const;

  const model_config& config() const { return config_; }

private:
  kv_pool(const model_config& config, at::Device device, kernels::storage stored_as);

  at::Tensor cut_block(); ///< the lock is held

  model_config config_;
  at::Device device_;
  kernels::storage stored_as_;
  std::int64_t layers_, layer_numbers_;
  mutable std::mutex mutex_;
  std::vector<at::Tensor> free_;
  std::int64_t allocated_ = 0;
  at::Tensor slab_; ///< [blocks, numbers of one]: memory that blocks are cut from
  std::int64_t cut_ = 0;
};

/// The keys and values of one growing sequence. Sequences forked from another share its full blocks.
class kv_sequence {
public:
  explicit kv_sequence(std::shared_ptr<kv_pool> pool) : pool_(std::move(pool)) {}

  kv_sequence(kv_sequence&&) = default;
  kv_sequence& operator=(kv_sequence&&) = default;

  /// A sequence of the first `tokens` of this one: full blocks are shared, a part of a block is copied.
  /// @param tokens in [0, length()]
  kv_sequence fork(std::int64_t tokens) const;

  /// Tokens that have (or, within a forward pass, are about to have) a place.
  std::int64_t length() const { return length_; }

  /// Makes room for `tokens` more. Their keys and values are written by the next forward pass.
  void grow(std::int64_t tokens);

  /// [blocks] starts of the blocks' memory; valid until the next `grow`.
  void* const* blocks() const { return starts_.data(); }

  kernels::storage stored_as() const { return pool_->stored_as(); }

  const at::Tensor& block(std::int64_t index) const { return *blocks_[static_cast<std::size_t>(index)]; }

  /// A block to share: one that this sequence fills, or has filled by the next forward pass.
  std::shared_ptr<at::Tensor> shared_block(std::int64_t index) const {
    return blocks_[static_cast<std::size_t>(index)];
  }

  /// The next tokens' keys and values: a whole block of a sequence that begins as this one does, from the same pool.
  /// The length is a multiple of a block's.
  void append(std::shared_ptr<at::Tensor> block);

private:
  void append_block();

  std::shared_ptr<kv_pool> pool_;
  std::vector<std::shared_ptr<at::Tensor>> blocks_;
  std::vector<void*> starts_;
  std::int64_t length_ = 0;
};

} // namespace millrace::model
