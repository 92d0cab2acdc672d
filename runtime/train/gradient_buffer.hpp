#pragma once

#include "runtime/model/weights.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace millrace::train {

/// Neighbouring numbers of one parameter.
struct parameter_piece {
  std::size_t parameter = 0; ///< its place in the manifest
  std::int64_t begin = 0;    ///< of the parameter's numbers, row by row
  std::int64_t numbers = 0;  ///< >= 1

  at::Tensor of(const at::Tensor& whole) const {
    return numbers == whole.numel() ? whole : whole.view(-1).narrow(0, begin, numbers);
  }
};

/// The gradients of parameters in one buffer. Each parameter's `.grad` is its part of it, so that ranks can exchange
/// runs of numbers without a look at shapes.
class gradient_buffer {
public:
  /// @param parameters leaves in fp32, on one device; their gradients are replaced by zeros
  explicit gradient_buffer(const model::weights& parameters);

  /// [numbers] f32, some of them padding that is 0
  const at::Tensor& flat() const { return flat_; }

  void clear() { flat_.zero_(); }

  /// Where the share of `rank` begins; of rank `size`: the end. Shares are whole blocks and differ by one at most.
  std::int64_t share_begin(int rank, int size) const;

  at::Tensor share(const at::Tensor& whole, int rank, int size) const {
    const auto begin = share_begin(rank, size);
    return whole.narrow(0, begin, share_begin(rank + 1, size) - begin);
  }

  /// The parts of parameters whose gradients are in the share of a rank, in the order of the manifest.
  std::vector<parameter_piece> pieces(int rank, int size) const;

  /// The sum of squares of each block of a share, in double. A block's sum does not depend on the cut into shares.
  std::vector<double> squares(int rank, int size) const;

private:
  std::vector<std::int64_t> numbers_; ///< of each parameter
  at::Tensor flat_;
};

/// The norm of a whole gradient. @param squares of all its blocks, in order
double norm_of(std::span<const double> squares);

} // namespace millrace::train
