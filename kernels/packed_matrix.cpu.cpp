#include "kernels/packed_matrix.hpp"

#include "kernels/instruction_set.hpp"
#include "kernels/int8_panel.hpp"
#include "kernels/system_memory.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <type_traits>
#include <utility>
#include <vector>

namespace millrace::kernels {
namespace {

/// Where output `index` of a panel stands within a step.
template <class Number>
constexpr std::int64_t place_of(std::int64_t index) {
  return std::is_same_v<Number, float> ? index : index % 16 * 2 + index / 16;
}

std::int64_t bytes_of_panel(std::int64_t in, storage stored_as) {
  switch (stored_as) {
  case storage::float32:
    return in * panel_width * static_cast<std::int64_t>(sizeof(float));
  case storage::bfloat16:
    return in * panel_width * static_cast<std::int64_t>(sizeof(bfloat16));
  case storage::int8:
    break;
  }
  return int8_layout::bytes(in);
}

} // namespace

std::size_t packed_matrix::bytes_of(std::int64_t out, std::int64_t in, storage stored_as) {
  if (out < 1 || in < 1)
    throw std::invalid_argument("packed_matrix: need out >= 1 and in >= 1");
  return static_cast<std::size_t>((out + panel_width - 1) / panel_width * bytes_of_panel(in, stored_as));
}

packed_matrix::packed_matrix(std::int64_t out, std::int64_t in, storage stored_as, std::shared_ptr<std::byte> room)
    : out_(out), in_(in), stored_as_(stored_as), panel_bytes_(bytes_of_panel(in, stored_as)), data_(std::move(room)) {
  const std::size_t bytes = bytes_of(out, in, stored_as);
  if (!data_)
    data_ = system_memory(bytes);
}

template <class Stored, class Number>
void packed_matrix::lay_out(const Number* w) {
  const auto stored = [](Number number) {
    if constexpr (std::is_same_v<Stored, Number>)
      return number;
    else
      return rounded(number);
  };
  constexpr std::int64_t block = 16;
  for (std::int64_t p = 0; p < panels(); ++p) {
    Stored* to = reinterpret_cast<Stored*>(data_.get() + p * panel_bytes_);
    const std::int64_t columns = std::min(panel_width, out_ - p * panel_width);
    for (std::int64_t k = 0; k < in_; k += block)
      for (std::int64_t c = 0; c < panel_width; ++c)
        for (std::int64_t i = k; i < std::min(in_, k + block); ++i)
          to[i * panel_width + place_of<Stored>(c)] =
              c < columns ? stored(w[(p * panel_width + c) * in_ + i]) : Stored{};
  }
}

packed_matrix::packed_matrix(const float* w, std::int64_t out, std::int64_t in, std::shared_ptr<std::byte> room)
    : packed_matrix(out, in, storage::float32, std::move(room)) {
  lay_out<float>(w);
}

packed_matrix::packed_matrix(const bfloat16* w, std::int64_t out, std::int64_t in, std::shared_ptr<std::byte> room)
    : packed_matrix(out, in, storage::bfloat16, std::move(room)) {
  lay_out<bfloat16>(w);
}

packed_matrix packed_matrix::as_bfloat16(const float* w, std::int64_t out, std::int64_t in,
                                         std::shared_ptr<std::byte> room) {
  packed_matrix made(out, in, storage::bfloat16, std::move(room));
  made.lay_out<bfloat16>(w);
  return made;
}

namespace {

/// A row of weights, block by block. @param scales `apart` bytes from block to block   @param numbers [in], and zeros
template <int width, class Number>
MILLRACE_INLINE void round_row(const Number* w, std::int64_t in, std::int8_t* scales, std::int64_t apart,
                               std::int8_t* numbers, rounded_matrix& whole) {
  rounding<width> sums;
  for (std::int64_t k = 0; k < in; k += int8_block, scales += apart) {
    alignas(64) float copy[int8_block] = {};
    const float* block = copy;
    if (std::is_same_v<Number, float> && in - k >= int8_block)
      block = reinterpret_cast<const float*>(w + k);
    else
      for (std::int64_t i = 0; i < std::min(int8_block, in - k); ++i)
        copy[i] = widened(w[k + i]);
    const half scale = round_weights<width>(block, numbers + k, sums);
    std::memcpy(scales, &scale, sizeof scale);
    whole.finite &= scale.bits < 0x7c00;
  }
  for (int i = 0; i < width; ++i) {
    whole.weights += sums.weights[i];
    whole.changes += sums.changes[i];
  }
}

/// A panel out of the rows [columns, in] of its outputs. @param numbers [panel_width, blocks of in], room to work in
template <int width, class Number>
MILLRACE_INLINE void round_panel(const Number* w, std::int64_t in, std::int64_t columns, std::int8_t* panel,
                                 std::int8_t* numbers, rounded_matrix& whole) {
  const std::int64_t stride = int8_blocks(in) * int8_block, apart = int8_layout::offset(int8_block);
  if (columns < panel_width) // zeros for the outputs that there are not
    std::fill(panel, panel + int8_layout::bytes(in), std::int8_t{});
  for (std::int64_t c = 0; c < columns; ++c)
    round_row<width>(w + c * in, in, panel + c * sizeof(half), apart, numbers + c * stride, whole);
  for (std::int64_t begin = 0; begin < in; begin += int8_block) {
    std::int8_t* const block = panel + int8_layout::offset(begin);
    for (std::int64_t k = 0; k < padded_inputs(std::min(int8_block, in - begin)); k += 2)
      for (std::int64_t c = 0; c < columns; ++c)
        std::memcpy(block + int8_layout::place(c, k), numbers + c * stride + begin + k, 2);
  }
}

} // namespace

template <class Number>
void packed_matrix::round(const Number* w) {
  rounded_matrix whole;
  std::vector<std::int8_t> numbers(static_cast<std::size_t>(panel_width * int8_blocks(in_) * int8_block));
  with_instruction_set(
      best_instruction_set(), [&](auto width) __attribute__((always_inline)) {
        for (std::int64_t p = 0; p < panels(); ++p)
          round_panel<decltype(width)::value>(
              w + p * panel_width * in_, in_, std::min(panel_width, out_ - p * panel_width),
              reinterpret_cast<std::int8_t*>(data_.get() + p * panel_bytes_), numbers.data(), whole);
      });
  if (!whole.finite)
    throw std::invalid_argument("packed_matrix: a weight is not finite or too large for int8");
  rounding_error_ = whole.weights > 0 ? std::sqrt(whole.changes / whole.weights) : 0;
}

packed_matrix packed_matrix::as_int8(const float* w, std::int64_t out, std::int64_t in,
                                     std::shared_ptr<std::byte> room) {
  packed_matrix made(out, in, storage::int8, std::move(room));
  made.round(w);
  return made;
}

packed_matrix packed_matrix::as_int8(const bfloat16* w, std::int64_t out, std::int64_t in,
                                     std::shared_ptr<std::byte> room) {
  packed_matrix made(out, in, storage::int8, std::move(room));
  made.round(w);
  return made;
}

void packed_matrix::copy_row(std::int64_t index, float* to) const {
  const auto copy = [&]<class Number>(const Number* column) {
    for (std::int64_t k = 0; k < in_; ++k)
      to[k] = widened(column[k * panel_width]);
  };
  const std::int64_t at = index % panel_width;
  switch (stored_as_) {
  case storage::float32:
    return copy(panel<float>(index / panel_width) + place_of<float>(at));
  case storage::bfloat16:
    return copy(panel<bfloat16>(index / panel_width) + place_of<bfloat16>(at));
  case storage::int8:
    break;
  }
  for (std::int64_t k = 0; k < in_; ++k) {
    const std::int8_t* block =
        panel<std::int8_t>(index / panel_width) + int8_layout::offset(k / int8_block * int8_block);
    to[k] = widened(reinterpret_cast<const half*>(block)[at]) * block[int8_layout::place(at, k % int8_block)];
  }
}

} // namespace millrace::kernels
