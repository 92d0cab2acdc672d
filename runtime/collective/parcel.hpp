#pragma once

#include "runtime/collective/group.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::collective {

/// What one rank hands another: whole numbers, numbers and tensors, in an order that both know.
struct parcel {
  std::vector<std::int64_t> words;
  std::vector<double> numbers;
  std::vector<at::Tensor> tensors; ///< on the CPU; may be undefined
};

/// A text as words of a parcel, a byte each.
std::vector<std::int64_t> words_of(std::string_view text);
std::string text_of(std::span<const std::int64_t> words);

/// The first rank hands every other rank its parcel: `parcels[r - 1]` to rank r. @throws lost
void hand_out(group& ranks, const std::vector<parcel>& parcels);

/// The first rank hands every other rank the same parcel. @throws lost
void hand_to_all(group& ranks, const parcel& what);

/// What the first rank hands this one. @throws lost
parcel take(group& ranks);

/// Hands the first rank a parcel. @throws lost
void hand_in(group& ranks, const parcel& what);

/// What every other rank hands the first one, in the order of ranks. @throws lost
std::vector<parcel> collect(group& ranks);

/// Every rank hands every other one a parcel. @param parcels by rank; the own one stays here
/// @returns what each rank handed to this one, by rank; its own is empty @throws lost
std::vector<parcel> hand_around(group& ranks, const std::vector<parcel>& parcels);

} // namespace millrace::collective
