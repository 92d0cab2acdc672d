#include "runtime/model/kv_cache.hpp"

#include "kernels/cached_attention.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

namespace millrace::model {

using kernels::cache_block_tokens;

namespace {

kernels::storage storage_of(sampling_precision kept) {
  switch (kept) {
  case sampling_precision::float32:
    break;
  case sampling_precision::bfloat16:
    return kernels::storage::bfloat16;
  case sampling_precision::int8:
    return kernels::storage::int8;
  }
  return kernels::storage::float32;
}

at::ScalarType scalar_type(kernels::storage stored) {
  switch (stored) {
  case kernels::storage::float32:
    break;
  case kernels::storage::bfloat16:
    return at::kBFloat16;
  case kernels::storage::int8:
    return at::kChar;
  }
  return at::kFloat;
}

} // namespace

kv_pool::kv_pool(const model_config& config, at::Device device, kernels::storage stored_as)
    : config_(config), device_(device), stored_as_(stored_as), layers_(config.layers),
      layer_numbers_(kernels::cache_layer_numbers(config.kv_heads, config.head_dim, stored_as)) {
}

std::shared_ptr<kv_pool> kv_pool::make(const model_config& config, at::Device device, sampling_precision kept) {
  return std::shared_ptr<kv_pool>(new kv_pool(config, device, storage_of(kept)));
}

std::int64_t kv_pool::bytes_per_block() const {
  return layers_ * layer_numbers_ * static_cast<std::int64_t>(c10::elementSize(scalar_type(stored_as_)));
}

/// Small blocks one by one would lie in the heap between a step's activations, and leave pieces there that nothing fits
/// into: a sixth of their bytes.
at::Tensor kv_pool::cut_block() {
  constexpr std::int64_t slab_bytes = 4 << 20;
  if (!slab_.defined() || cut_ == slab_.size(0)) {
    slab_ = at::empty({std::max<std::int64_t>(1, slab_bytes / bytes_per_block()), layers_ * layer_numbers_},
                      at::TensorOptions().dtype(scalar_type(stored_as_)).device(device_));
    cut_ = 0;
  }
  ++allocated_;
  return slab_.select(0, cut_++);
}

std::shared_ptr<at::Tensor> kv_pool::take() {
  at::Tensor memory;
  {
    const std::lock_guard lock(mutex_);
    if (free_.empty()) {
      memory = cut_block();
    } else {
      memory = std::move(free_.back());
      free_.pop_back();
    }
  }
  return {new at::Tensor(std::move(memory)), [pool = shared_from_this()](at::Tensor* block) {
            const std::lock_guard lock(pool->mutex_);
            pool->free_.push_back(std::move(*block));
            delete block;
          }};
}

std::int64_t kv_pool::blocks_allocated() const {
  const std::lock_guard lock(mutex_);
  return allocated_;
}

std::int64_t kv_pool::blocks_in_use() const {
  const std::lock_guard lock(mutex_);
  return allocated_ - static_cast<std::int64_t>(free_.size());
}

void kv_sequence::append_block() {
  blocks_.push_back(pool_->take());
  starts_.push_back(blocks_.back()->data_ptr());
}

void kv_sequence::append(std::shared_ptr<at::Tensor> block) {
  if (length_ % cache_block_tokens != 0)
    throw std::invalid_argument("kv_sequence::append: want a length of whole blocks");
  starts_.push_back(block->data_ptr());
  blocks_.push_back(std::move(block));
  length_ += cache_block_tokens;
}

kv_sequence kv_sequence::fork(std::int64_t tokens) const {
  if (tokens < 0 || tokens > length_)
    throw std::invalid_argument("kv_sequence::fork: want tokens in [0, length]");
  kv_sequence copy(pool_);
  const std::int64_t full = tokens / cache_block_tokens;
  copy.blocks_.assign(blocks_.begin(), blocks_.begin() + full);
  copy.starts_.assign(starts_.begin(), starts_.begin() + full);
  if (tokens % cache_block_tokens != 0) {
    copy.append_block();
    if (block(full).is_cpu()) // ATen would copy with threads that nobody gave this caller
      std::memcpy(copy.starts_.back(), starts_[static_cast<std::size_t>(full)],
                  static_cast<std::size_t>(pool_->bytes_per_block()));
    else
      copy.blocks_.back()->copy_(block(full));
  }
  copy.length_ = tokens;
  return copy;
}

void kv_sequence::grow(std::int64_t tokens) {
  length_ += tokens;
  while (static_cast<std::int64_t>(blocks_.size()) * cache_block_tokens < length_)
    append_block();
}

} // namespace millrace::model
