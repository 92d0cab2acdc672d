#include "runtime/train/gradient_buffer.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace millrace::train {
namespace {

/// Floats of a cache line: kernels find every gradient aligned as if it were a tensor of its own.
constexpr std::int64_t line = 16;

/// Floats of a block: what shares and sums of squares are made of.
constexpr std::int64_t block = 1024;

std::int64_t whole(std::int64_t numbers, std::int64_t unit) {
  return (numbers + unit - 1) / unit * unit;
}

/// In eight sums side by side: that is what a processor does at once, and always the same order.
double sum_of_squares(const float* numbers) {
  std::array<double, 8> sums{};
  for (std::int64_t i = 0; i < block; i += 8)
    for (std::size_t lane = 0; lane < 8; ++lane) {
      const double number = numbers[i + static_cast<std::int64_t>(lane)];
      sums[lane] += number * number;
    }
  double sum = 0;
  for (const double part : sums)
    sum += part;
  return sum;
}

} // namespace

gradient_buffer::gradient_buffer(const model::weights& parameters) {
  std::int64_t numbers = 0;
  for (const auto& parameter : parameters) {
    numbers_.push_back(parameter.tensor.numel());
    numbers += whole(numbers_.back(), line);
  }
  const auto options = parameters.empty() ? at::TensorOptions() : parameters.front().tensor.options();
  flat_ = at::zeros({whole(numbers, block)}, options.dtype(at::kFloat).requires_grad(false));
  std::int64_t begin = 0;
  for (const auto& parameter : parameters) {
    at::Tensor leaf = parameter.tensor;
    leaf.mutable_grad() = flat_.narrow(0, begin, leaf.numel()).view(leaf.sizes());
    begin += whole(leaf.numel(), line);
  }
}

std::int64_t gradient_buffer::share_begin(int rank, int size) const {
  return flat_.numel() / block * rank / size * block;
}

std::vector<parameter_piece> gradient_buffer::pieces(int rank, int size) const {
  const std::int64_t from = share_begin(rank, size), to = share_begin(rank + 1, size);
  std::vector<parameter_piece> found;
  std::int64_t begin = 0;
  for (std::size_t p = 0; p < numbers_.size(); ++p) {
    const std::int64_t first = std::max(from, begin), end = std::min(to, begin + numbers_[p]);
    if (first < end)
      found.push_back({.parameter = p, .begin = first - begin, .numbers = end - first});
    begin += whole(numbers_[p], line);
  }
  return found;
}

std::vector<double> gradient_buffer::squares(int rank, int size) const {
  const at::Tensor numbers = share(flat_, rank, size).to(at::kCPU);
  std::vector<double> sums;
  for (std::int64_t i = 0; i < numbers.numel(); i += block)
    sums.push_back(sum_of_squares(numbers.const_data_ptr<float>() + i));
  return sums;
}

double norm_of(std::span<const double> squares) {
  double sum = 0;
  for (const double square : squares)
    sum += square;
  return std::sqrt(sum);
}

} // namespace millrace::train
