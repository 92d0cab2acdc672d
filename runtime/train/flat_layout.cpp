#include "runtime/train/flat_layout.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <string_view>

namespace millrace::train {
namespace {

/// Floats of a cache line: kernels find every parameter aligned as if it were a tensor of its own.
constexpr std::int64_t line = 16;

std::int64_t whole_units(std::int64_t numbers, std::int64_t unit) {
  return (numbers + unit - 1) / unit * unit;
}

/// The decoder's block that a parameter belongs to; -1: none.
std::int64_t layer_of(std::string_view name) {
  constexpr std::string_view blocks = "model.layers.";
  if (!name.starts_with(blocks))
    return -1;
  std::int64_t layer = -1;
  std::from_chars(name.data() + blocks.size(), name.data() + name.size(), layer);
  return layer;
}

/// In eight sums side by side: that is what a processor does at once, and always the same order.
double sum_of_squares(const float* numbers) {
  std::array<double, 8> sums{};
  for (std::int64_t i = 0; i < flat_layout::block; i += 8)
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

flat_layout::flat_layout(const model::weights& parameters) {
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    const auto layer = layer_of(parameters[p].name);
    if (units_.empty() || units_.back().layer != layer) {
      numbers_ = whole_units(numbers_, block);
      units_.push_back({.layer = layer, .range = {numbers_, 0}, .first = p, .count = 0});
    }
    places_.push_back({numbers_, parameters[p].tensor.numel()});
    numbers_ += whole_units(parameters[p].tensor.numel(), line);
    auto& last = units_.back();
    ++last.count;
    last.range.numbers = whole_units(numbers_ - last.range.begin, block);
  }
  numbers_ = whole_units(numbers_, block);
}

flat_range flat_layout::share(const flat_range& range, int rank, int size) {
  const std::int64_t blocks = range.numbers / block;
  const std::int64_t from = blocks * rank / size * block, to = blocks * (rank + 1) / size * block;
  return {range.begin + from, to - from};
}

std::vector<parameter_piece> flat_layout::pieces(const flat_range& range) const {
  std::vector<parameter_piece> found;
  for (std::size_t p = 0; p < places_.size(); ++p) {
    const std::int64_t first = std::max(range.begin, places_[p].begin);
    const std::int64_t end = std::min(range.end(), places_[p].end());
    if (first < end)
      found.push_back({.parameter = p, .begin = first - places_[p].begin, .numbers = end - first});
  }
  return found;
}

std::vector<double> squares_of_blocks(const at::Tensor& numbers) {
  const at::Tensor here = numbers.to(at::kCPU);
  std::vector<double> sums;
  for (std::int64_t i = 0; i < here.numel(); i += flat_layout::block)
    sums.push_back(sum_of_squares(here.const_data_ptr<float>() + i));
  return sums;
}

double norm_of(const std::vector<double>& squares) {
  double sum = 0;
  for (const double square : squares)
    sum += square;
  return std::sqrt(sum);
}

} // namespace millrace::train
