#pragma once

#include "runtime/model/weights.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace millrace::train {

/// The gradients of parameters in one buffer. Each parameter's `.grad` is its part of it, so that ranks can exchange
/// runs of numbers without a look at shapes.
class gradient_buffer {
public:
  /// @param parameters leaves in fp32, on one device; their gradients are replaced by zeros
  explicit gradient_buffer(const model::weights& parameters);

  /// [numbers] f32, some of them padding that is 0
  const at::Tensor& flat() const { return flat_; }

  void clear() { flat_.zero_(); }

  /// Where the share of `rank` begins; of rank `size`: the end. Shares are whole cache lines and differ by one at most.
  std::int64_t share_begin(int rank, int size) const;

  at::Tensor share(const at::Tensor& whole, int rank, int size) const {
    const auto begin = share_begin(rank, size);
    return whole.narrow(0, begin, share_begin(rank + 1, size) - begin);
  }

private:
  at::Tensor flat_;
};

} // namespace millrace::train
