#pragma once

#include "runtime/model/weights.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
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

/// A run of numbers.
struct flat_range {
  std::int64_t begin = 0, numbers = 0;

  std::int64_t end() const { return begin + numbers; }

  /// Its part of what lies like the layout. @param flat [numbers of the layout]
  at::Tensor of(const at::Tensor& flat) const { return flat.narrow(0, begin, numbers); }
};

/// Where the parameters of a model lie, one after another in the order of the manifest, in one run of numbers. So ranks
/// can exchange them, and their gradients, without a look at shapes.
///
/// Invariants
/// - FL-1: each parameter begins at a cache line; the numbers between two parameters are padding.
/// - FL-2: the parameters of a decoder's block are neighbours. They are a unit, which is whole blocks of numbers; so
///   are the parameters before and after the decoder's blocks.
/// - FL-3: shares are whole blocks of numbers, and those of two ranks differ by one block at most.
class flat_layout {
public:
  static constexpr std::int64_t block = 1024; ///< numbers

  /// What is used, and can be at hand, together.
  struct unit {
    std::int64_t layer = -1; ///< -1: outside of the decoder's blocks
    flat_range range;
    std::size_t first = 0, count = 0; ///< parameters

    std::size_t end() const { return first + count; }
  };

  explicit flat_layout(const model::weights& parameters);

  std::int64_t numbers() const { return numbers_; } ///< with the padding

  const std::vector<unit>& units() const { return units_; }

  const flat_range& place(std::size_t parameter) const { return places_[parameter]; }

  flat_range whole() const { return {0, numbers_}; }

  /// The part of a range, which is whole blocks, that is a rank's.
  static flat_range share(const flat_range& range, int rank, int size);

  /// The parts of parameters within a range, in the order of the manifest.
  std::vector<parameter_piece> pieces(const flat_range& range) const;

private:
  std::vector<flat_range> places_; ///< of each parameter, without padding
  std::vector<unit> units_;
  std::int64_t numbers_ = 0;
};

/// The sums of squares of the blocks of some numbers, in double. @param numbers [whole blocks] f32
std::vector<double> squares_of_blocks(const at::Tensor& numbers);

/// The norm of a whole gradient. @param squares of all its blocks, in order
double norm_of(const std::vector<double>& squares);

} // namespace millrace::train
