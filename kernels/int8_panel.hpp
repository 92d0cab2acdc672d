#pragma once

#include "kernels/half.hpp"
#include "kernels/packed_matrix.hpp"
#include "kernels/vector.hpp"

#include <algorithm>
#include <cstdint>
#include <limits>

/// Products of weights in int8 with inputs in 16 bits. Both are whole numbers, so their sums are exact: they have one
/// value in whatever order and with whatever instructions they are taken.
namespace millrace::kernels {

constexpr std::int64_t panel_width = packed_matrix::panel_width;

/// Whole numbers that are multiplied at once; inputs are padded with zeros to a multiple of it.
constexpr std::int64_t inputs_at_once = 4;

constexpr std::int64_t padded_inputs(std::int64_t in) {
  return (in + inputs_at_once - 1) / inputs_at_once * inputs_at_once;
}

/// Weights of an output that share a scale.
constexpr std::int64_t int8_block = 32;

constexpr std::int64_t int8_blocks(std::int64_t in) {
  return (in + int8_block - 1) / int8_block;
}

/// Inputs of a row that share a scale, a multiple of int8_block. The parts of a row are as equal as that allows.
constexpr std::int64_t part_inputs(std::int64_t in) {
  constexpr std::int64_t most = 512;
  const std::int64_t parts = (in + most - 1) / most;
  return int8_blocks((in + parts - 1) / parts) * int8_block;
}

constexpr std::int64_t input_parts(std::int64_t in) {
  return (in + part_inputs(in) - 1) / part_inputs(in);
}

/// Rows of inputs in whole numbers: x = scale of its part * number, to the nearest.
struct whole_rows {
  const std::int16_t* numbers; ///< [rows, padded_inputs(in)]
  const float* scales;         ///< [rows, input_parts(in)], powers of two; NaN for a part that is not finite
};

namespace detail {

template <int width>
using ints = typename vector_of<width>::ints;

/// The largest size of some floats, as the bits of a float; that of a NaN is above infinity's.
template <int width>
MILLRACE_INLINE std::int32_t largest_bits(const float* x, std::int64_t count) {
  constexpr std::int32_t no_sign = 0x7fffffff;
  ints<width> most = {};
  std::int64_t k = 0;
  for (; k + width <= count; k += width) {
    const ints<width> size = std::bit_cast<ints<width>>(load<vector<width>>(x + k)) & no_sign;
    most = size > most ? size : most;
  }
  std::int32_t largest = 0;
  for (int i = 0; i < width; ++i)
    largest = std::max(largest, std::int32_t{most[i]});
  for (; k < count; ++k)
    largest = std::max(largest, std::bit_cast<std::int32_t>(x[k]) & no_sign);
  return largest;
}

/// Added to a float below 2^22 in size, it leaves the nearest whole number, of two the even one, in the last bits.
constexpr float to_whole = 0x1.8p23f;

/// One part. The scale is the power of two that leaves the largest number 15 bits and a sign. A product with it is
/// exact: an addition that is fused with it has the same bits as one that is not.
template <int width>
MILLRACE_INLINE float round_part(const float* x, std::int64_t count, std::int16_t* numbers) {
  using V = vector<width>;
  constexpr float most = std::numeric_limits<std::int16_t>::max();
  constexpr std::int32_t least_exponent = 30; // so that scale and inverse are normal
  const std::int32_t exponent = std::max(largest_bits<width>(x, count) >> 23, least_exponent);
  const float inverse = std::bit_cast<float>((268 - exponent) << 23);
  std::int64_t k = 0;
  for (; k + width <= count; k += width) {
    const V size = load<V>(x + k) * inverse;
    const V bounded = size < most ? size : broadcast<V>(most);
    const auto whole =
        __builtin_convertvector(std::bit_cast<ints<width>>(bounded + to_whole), typename vector_of<width>::halves);
    std::memcpy(numbers + k, &whole, sizeof whole);
  }
  for (; k < count; ++k) {
    const float size = x[k] * inverse;
    numbers[k] = static_cast<std::int16_t>(std::bit_cast<std::int32_t>((size < most ? size : most) + to_whole));
  }
  if (exponent == 255)
    return std::numeric_limits<float>::quiet_NaN();
  return std::bit_cast<float>((exponent - 14) << 23);
}

} // namespace detail

/// A row of inputs in whole numbers.
/// @param numbers [padded_inputs(in)]   @param scales [input_parts(in)]
template <int width>
MILLRACE_INLINE void round_inputs(const float* x, std::int64_t in, std::int16_t* numbers, float* scales) {
  const std::int64_t part = part_inputs(in);
  for (std::int64_t k = 0; k < in; k += part)
    *scales++ = detail::round_part<width>(x + k, std::min(part, in - k), numbers + k);
  std::fill(numbers + in, numbers + padded_inputs(in), std::int16_t{});
}

/// Sums of squares of some weights and of what rounding changed of them.
template <int width>
struct rounding {
  vector<width> weights = {}, changes = {};
};

/// Of a matrix: the sums of squares of its weights and of what rounding changed of them, and whether all went in.
struct rounded_matrix {
  double weights = 0, changes = 0;
  bool finite = true;
};

/// A block of weights in whole numbers from -127 to 127: w = scale * number, to the nearest. The scale is the least
/// half that lets the largest weight be 127 at most; infinity if it is too large, or not finite.
/// @param w, numbers [int8_block]
template <int width>
MILLRACE_INLINE half round_weights(const float* w, std::int8_t* numbers, rounding<width>& sums) {
  using V = vector<width>;
  const float largest = std::bit_cast<float>(detail::largest_bits<width>(w, int8_block));
  const half scale = half_at_least(largest / 127);
  const float step = largest > 0 ? widened(scale) : 1;
#pragma GCC unroll 8
  for (std::int64_t k = 0; k < int8_block; k += width) {
    const V some = load<V>(w + k), whole = some / step + detail::to_whole;
    const auto narrow =
        __builtin_convertvector(std::bit_cast<detail::ints<width>>(whole), typename vector_of<width>::bytes);
    std::memcpy(numbers + k, &narrow, sizeof narrow);
    const V change = some - (whole - detail::to_whole) * step;
    sums.weights += some * some;
    sums.changes += change * change;
  }
  return scale;
}

namespace detail {

/// 2 * width numbers of 8 bits as so many of 16: pairs in lanes of 32.
template <int width>
MILLRACE_INLINE ints<width> load_pairs(const std::int8_t* from) {
  ints<width> pairs;
  if constexpr (width >= 8) {
    asm("vpmovsxbw %1, %0" : "=v"(pairs) : "m"(*reinterpret_cast<const std::int8_t(*)[2 * width]>(from)));
  } else {
    typename vector_of<2 * width>::bytes narrow;
    std::memcpy(&narrow, from, sizeof narrow);
    pairs = std::bit_cast<ints<width>>(__builtin_convertvector(narrow, typename vector_of<2 * width>::halves));
  }
  return pairs;
}

/// In each lane: sum + w[0] * x[0] + w[1] * x[1], of two pairs of 16 bits. By value: what is a reference to an asm
/// statement stays in memory.
template <int width, bool vnni>
MILLRACE_INLINE ints<width> add_products(ints<width> sum, ints<width> w, ints<width> x) {
  if constexpr (vnni) {
    asm("vpdpwssd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
  } else if constexpr (width >= 8) {
    ints<width> both;
    asm("vpmaddwd %2, %1, %0" : "=v"(both) : "v"(w), "v"(x));
    sum += both;
  } else {
    asm("pmaddwd %1, %0" : "+x"(w) : "x"(x)); // every x86-64 has it
    sum += w;
  }
  return sum;
}

template <int width>
MILLRACE_INLINE vector<width> load_halves(const half* from) {
  vector<width> wide;
  if constexpr (width >= 8)
    asm("vcvtph2ps %1, %0" : "=v"(wide) : "m"(*reinterpret_cast<const half(*)[width]>(from)));
  else
    for (int i = 0; i < width; ++i)
      wide[i] = widened(from[i]);
  return wide;
}

/// a + b * c, rounded twice whatever the instructions: nothing may fuse them.
template <class V>
MILLRACE_INLINE V add_product(V a, V b, V c) {
  V product = b * c;
  asm("" : "+v"(product));
  return a + product;
}

} // namespace detail

/// How a block of a panel lies in memory: the outputs' scales, then steps of two inputs, each [panel_width, 2].
struct int8_layout {
  static constexpr std::int64_t scales = panel_width * sizeof(half); ///< bytes

  /// Of the block that begins at input k, a multiple of int8_block.
  static constexpr std::int64_t offset(std::int64_t k) { return k * panel_width + k / int8_block * scales; }

  static constexpr std::int64_t bytes(std::int64_t in) {
    return padded_inputs(in) * panel_width + int8_blocks(in) * scales;
  }

  /// Of input k's weight of an output, within a block.
  static constexpr std::int64_t place(std::int64_t output, std::int64_t k) {
    return scales + (k / 2 * panel_width + output) * 2 + k % 2;
  }
};

/// What a tile fetches while it computes: so many bytes for every `inputs_at_once` inputs, into the nearest cache or
/// the next one.
struct int8_ahead {
  const std::int8_t* from;
  std::int64_t step;
  bool nearest;
};

/// y (+)= x[rows, inputs] panel[inputs, panel_width] for `vectors` vectors of the panel's outputs, `first_vector` on.
/// @param x      [rows, x_stride], from the part's first input on; `inputs` a multiple of inputs_at_once
/// @param scales the part's, of each row, `scale_stride` apart
/// @param panel  the part's first block
template <int rows, int vectors, int width, bool vnni>
MILLRACE_INLINE void int8_tile(const std::int16_t* x, std::int64_t x_stride, const float* scales,
                               std::int64_t scale_stride, const std::int8_t* panel, int first_vector,
                               std::int64_t inputs, float* y, std::int64_t y_stride, bool first, int8_ahead ahead) {
  using V = vector<width>;
  using ints = detail::ints<width>;
  constexpr int chains = rows == 1 ? 2 : 1; // a row alone has few sums: two of each, not to wait for themselves
  y += first_vector * width;
  V totals[rows][vectors] = {};
  for (std::int64_t begin = 0; begin < inputs; begin += int8_block) {
    const auto* block_scales = reinterpret_cast<const half*>(panel) + first_vector * width;
    const std::int8_t* step = panel + int8_layout::scales + first_vector * 2 * width;
    const std::int64_t end = std::min(inputs, begin + int8_block);
    ints sums[chains][rows][vectors] = {};
    for (std::int64_t k = begin; k < end; k += inputs_at_once) {
      if (ahead.nearest)
        __builtin_prefetch(ahead.from, 0, 3);
      else
        __builtin_prefetch(ahead.from, 0, 2);
      ahead.from += ahead.step;
#pragma GCC unroll 2
      for (int two = 0; two < inputs_at_once / 2; ++two, step += 2 * panel_width) {
        ints w[vectors];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v)
          w[v] = detail::load_pairs<width>(step + v * 2 * width);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) {
          std::int32_t pair;
          std::memcpy(&pair, x + r * x_stride + k + 2 * two, sizeof pair);
          const ints in = ints{} + pair;
#pragma GCC unroll 4
          for (int v = 0; v < vectors; ++v) {
            ints& sum = sums[two % chains][r][v];
            sum = detail::add_products<width, vnni>(sum, w[v], in);
          }
        }
      }
    }
    panel += int8_layout::scales + (end - begin) * panel_width;
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      const V scale = detail::load_halves<width>(block_scales + v * width);
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) {
        ints sum = sums[0][r][v];
        if constexpr (chains == 2)
          sum += sums[1][r][v];
        totals[r][v] = detail::add_product(totals[r][v], __builtin_convertvector(sum, V), scale);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < vectors; ++v) {
      float* to = y + r * y_stride + v * width;
      const V part = totals[r][v] * scales[r * scale_stride];
      store(to, first ? part : load<V>(to) + part);
    }
}

} // namespace millrace::kernels
