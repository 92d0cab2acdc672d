#include "kernels/int8_panel.hpp"
#include "kernels/packed_matrix.hpp"
#include "kernels/row_pieces.hpp"
#include "kernels/thread_team.hpp"
#include "kernels/vector.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <vector>

namespace millrace::kernels {
namespace {

/// Inputs of one pass over a panel: x of a tile (8 x 512 floats) stays in the first-level cache under the panel's
/// stream.
constexpr std::int64_t depth = 512;

/// Where a tile's panel is followed by the next one in memory order: what to fetch while computing.
template <class Number>
struct ahead {
  const Number* from;
  std::int64_t numbers_per_step; ///< 0, 16 or 32
  std::int64_t every = 1;        ///< steps between two fetches, a power of two
};

/// Outputs between the two vectors of a pair.
template <class Number, int width>
constexpr int apart = std::is_same_v<Number, float> ? width : 16;

/// The next 2 * width weights of a step as a pair of vectors.
template <int width>
MILLRACE_INLINE void load_pair(const float* from, vector<width> (&w)[2]) {
  w[0] = load<vector<width>>(from);
  w[1] = load<vector<width>>(from + width);
}

template <int width>
MILLRACE_INLINE void load_pair(const bfloat16* from, vector<width> (&w)[2]) {
  typedef std::uint32_t ints __attribute__((vector_size(width * sizeof(float))));
  ints both;
  std::memcpy(&both, from, sizeof both);
  const ints low = both << 16, high = both & 0xffff0000;
  std::memcpy(&w[0], &low, sizeof low);
  std::memcpy(&w[1], &high, sizeof high);
}

/// Steps that are summed in one chain. Rounding grows with the root of a chain's length: short chains, then their sums.
constexpr std::int64_t chain = 128;

/// y (+)= x[rows, steps] panel[steps, panel_width] for `pairs` pairs of vectors of the panel's outputs from
/// `first_pair` on, each element in chains over the steps.
template <int rows, int pairs, int width, class Number>
MILLRACE_INLINE void tile(const float* x, std::int64_t x_stride, const Number* panel, int first_pair,
                          std::int64_t steps, float* y, std::int64_t y_stride, bool first, ahead<Number> next) {
  using V = vector<width>;
  constexpr int second = apart<Number, width>;
  constexpr int outputs = second == width ? 2 * width : width; ///< from one pair's first to the next one's
  const Number* fetch = next.from;
  panel += first_pair * 2 * width;
  y += first_pair * outputs;
  for (std::int64_t begin = 0; begin < steps; begin += chain, first = false) {
    V sums[rows][pairs][2] = {};
    for (std::int64_t k = begin; k < std::min(steps, begin + chain);
         ++k, panel += panel_width, fetch += next.numbers_per_step) {
      if ((k & (next.every - 1)) == 0)
        __builtin_prefetch(fetch, 0, 2);
      V w[pairs][2];
#pragma GCC unroll 4
      for (int p = 0; p < pairs; ++p)
        load_pair<width>(panel + p * 2 * width, w[p]);
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) {
        const V in = broadcast<V>(x[r * x_stride + k]);
#pragma GCC unroll 4
        for (int p = 0; p < pairs; ++p)
          for (int v = 0; v < 2; ++v)
            sums[r][p][v] += in * w[p][v];
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
      for (int p = 0; p < pairs; ++p)
        for (int v = 0; v < 2; ++v) {
          float* to = y + r * y_stride + p * outputs + v * second;
          store(to, first ? sums[r][p][v] : load<V>(to) + sums[r][p][v]);
        }
  }
}

/// How many registers of sums a tile has: 2 of weights, 1 of input, and what is left of 32 or 16.
template <int width>
constexpr int tile_rows = width == 16 ? 8 : 6;

/// With int8 every sum has a register for whole numbers and one for floats.
constexpr int int8_tile_rows = 6;

/// Of a panel's outputs a tile takes 2 * width at a time; with a single row twice as many, where the panel has them:
/// two chains alone would wait for each other's sums.
template <int width, int rows>
constexpr int tile_pairs = rows == 1 && 2 * width < packed_matrix::panel_width ? 2 : 1;

template <int width, int rows, class Number>
MILLRACE_INLINE void tile_of(std::int64_t count, const float* x, std::int64_t x_stride, const Number* panel,
                             std::int64_t steps, float* y, std::int64_t y_stride, bool first, ahead<Number> next) {
  if (count == rows)
    for (int pair = 0; pair < panel_width / (2 * width); pair += tile_pairs<width, rows>)
      tile<rows, tile_pairs<width, rows>, width>(x, x_stride, panel, pair, steps, y, y_stride, first, next);
  else if constexpr (rows > 1)
    tile_of<width, rows - 1>(count, x, x_stride, panel, steps, y, y_stride, first, next);
}

/// Where the sums of a panel's outputs go: y, or `scratch` [rows, panel_width] where y has no room for a whole panel.
struct panel_sums {
  std::int64_t out, column, columns;
  float *y, *sums;
  std::int64_t stride; ///< of the rows of sums

  panel_sums(const packed_matrix& w, std::int64_t index, float* whole, float* scratch)
      : out(w.out()), column(index * panel_width), columns(std::min(panel_width, out - column)), y(whole + column),
        sums(columns == panel_width ? y : scratch), stride(columns == panel_width ? out : panel_width) {}

  MILLRACE_INLINE void finish(std::int64_t rows, const float* bias) const {
    if (sums == y && !bias)
      return;
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c)
        y[r * out + c] = sums[r * stride + c] + (bias ? bias[column + c] : 0.0f);
  }
};

/// All rows of one panel. @param scratch [rows, panel_width]
template <int width, class Number>
MILLRACE_INLINE void panel_product(const float* x, std::int64_t rows, const packed_matrix& w, std::int64_t index,
                                   const float* bias, float* y, float* scratch) {
  constexpr std::int64_t numbers_of_page = 4096 / sizeof(Number);
  const std::int64_t in = w.in();
  const panel_sums to(w, index, y, scratch);
  const std::int64_t tiles = (rows + tile_rows<width> - 1) / tile_rows<width>;
  for (std::int64_t k = 0; k < in; k += depth) {
    const std::int64_t steps = std::min(depth, in - k);
    const Number* part = w.panel<Number>(index) + k * panel_width;
    // With one tile the memory's own prefetcher needs only a head start in the next page; with more, the first ones
    // fetch what follows.
    for (std::int64_t t = 0; t < tiles; ++t) {
      const std::int64_t from = rows * t / tiles, count = rows * (t + 1) / tiles - from;
      const ahead<Number> next = tiles == 1 ? ahead<Number>{part + numbers_of_page, 32, 8}
                                 : t < 2    ? ahead<Number>{part + (steps + t * steps / 2) * panel_width, 16}
                                            : ahead<Number>{part, 0};
      tile_of<width, tile_rows<width>>(count, x + from * in + k, in, part, steps, to.sums + from * to.stride, to.stride,
                                       k == 0, next);
    }
  }
  to.finish(rows, bias);
}

/// Some rows of one part of a panel of int8. @param count 1 to `rows`
template <int width, int rows, bool vnni>
MILLRACE_INLINE void int8_tile_of(std::int64_t count, const std::int16_t* x, std::int64_t x_stride, const float* scales,
                                  std::int64_t scale_stride, const std::int8_t* panel, std::int64_t inputs, float* y,
                                  std::int64_t y_stride, bool first, int8_ahead ahead) {
  constexpr int vectors = 2 * tile_pairs<width, rows>;
  if (count == rows)
    for (int v = 0; v < panel_width / width; v += vectors)
      int8_tile<rows, vectors, width, vnni>(x, x_stride, scales, scale_stride, panel, v, inputs, y, y_stride, first,
                                            ahead);
  else if constexpr (rows > 1)
    int8_tile_of<width, rows - 1, vnni>(count, x, x_stride, scales, scale_stride, panel, inputs, y, y_stride, first,
                                        ahead);
}

/// As `panel_product`, of int8.
template <int width, bool vnni>
MILLRACE_INLINE void int8_panel_product(const whole_rows& x, std::int64_t rows, const packed_matrix& w,
                                        std::int64_t index, const float* bias, float* y, float* scratch) {
  const std::int64_t in = padded_inputs(w.in()), part = part_inputs(w.in()), parts = input_parts(w.in());
  const panel_sums to(w, index, y, scratch);
  const std::int64_t tiles = (rows + int8_tile_rows - 1) / int8_tile_rows;
  for (std::int64_t p = 0; p < parts; ++p) {
    const std::int64_t k = p * part, inputs = std::min(part, in - k);
    const std::int8_t* blocks = w.panel<std::int8_t>(index) + int8_layout::offset(k);
    for (std::int64_t t = 0; t < tiles; ++t) {
      const std::int64_t from = rows * t / tiles, count = rows * (t + 1) / tiles - from;
      // One tile needs a head start for the memory's own prefetcher; of more, the first two fetch what follows.
      const int8_ahead ahead = tiles == 1 ? int8_ahead{blocks + int8_layout::bytes(int8_block), 128, false}
                               : t < 2    ? int8_ahead{blocks + int8_layout::bytes(inputs) * (2 + t) / 2, 64, true}
                                          : int8_ahead{blocks, 0, true};
      int8_tile_of<width, int8_tile_rows, vnni>(count, x.numbers + from * in + k, in, x.scales + from * parts + p,
                                                parts, blocks, inputs, to.sums + from * to.stride, to.stride, p == 0,
                                                ahead);
    }
  }
  to.finish(rows, bias);
}

void check(std::span<const packed_product> products) {
  for (const auto& p : products)
    if (p.weight->in() != products[0].weight->in())
      throw std::invalid_argument("packed_linear: the weights' inputs differ: " + std::to_string(p.weight->in())
                                  + " and " + std::to_string(products[0].weight->in()));
}

} // namespace

namespace {

/// Rows rounded once for all products that take them so. They stay until the thread's next call.
whole_rows rounded_rows(const float* x, std::int64_t rows, std::int64_t in, thread_team& team) {
  // Kept from call to call: a product with one row takes less time than memory for it.
  thread_local std::vector<std::int16_t> kept_numbers;
  thread_local std::vector<float> kept_scales;
  const std::int64_t padded = padded_inputs(in), parts = input_parts(in);
  if (kept_numbers.size() < static_cast<std::size_t>(rows * padded))
    kept_numbers.resize(static_cast<std::size_t>(rows * padded));
  if (kept_scales.size() < static_cast<std::size_t>(rows * parts))
    kept_scales.resize(static_cast<std::size_t>(rows * parts));
  std::int16_t* const numbers = kept_numbers.data();
  float* const scales = kept_scales.data();
  team.run(rows, rows_a_piece(in), [&](std::int64_t first, std::int64_t last) {
    with_instruction_set(
        team.instructions(), [&](auto width) __attribute__((always_inline)) {
          for (std::int64_t r = first; r < last; ++r)
            round_inputs<decltype(width)::value>(x + r * in, in, numbers + r * padded, scales + r * parts);
        });
  });
  return {numbers, scales};
}

template <int width>
MILLRACE_INLINE void one_panel(const float* x, const whole_rows& whole, std::int64_t rows, const packed_product& of,
                               std::int64_t index, float* sums, bool vnni) {
  switch (of.weight->stored_as()) {
  case storage::float32:
    return panel_product<width, float>(x, rows, *of.weight, index, of.bias, of.y, sums);
  case storage::bfloat16:
    return panel_product<width, bfloat16>(x, rows, *of.weight, index, of.bias, of.y, sums);
  case storage::int8:
    break;
  }
  if constexpr (width == 16)
    if (vnni)
      return int8_panel_product<width, true>(whole, rows, *of.weight, index, of.bias, of.y, sums);
  int8_panel_product<width, false>(whole, rows, *of.weight, index, of.bias, of.y, sums);
}

} // namespace

void packed_linear(const float* x, std::int64_t rows, std::span<const packed_product> products, thread_team& team) {
  if (products.empty() || rows <= 0)
    return;
  check(products);
  std::int64_t panels = 0;
  bool any_int8 = false;
  for (const auto& p : products) {
    panels += p.weight->panels();
    any_int8 |= p.weight->stored_as() == storage::int8;
  }
  const auto whole = any_int8 ? rounded_rows(x, rows, products[0].weight->in(), team) : whole_rows{};
  const bool vnni = team.instructions() == instruction_set::avx512vnni;
  // A piece is one fetch of work: long enough to hide the taking, short enough that both ends finish together.
  const std::int64_t piece = std::max<std::int64_t>(1, std::min<std::int64_t>(16, panels / (8 * team.threads())));
  team.run(panels, piece, [&](std::int64_t first, std::int64_t last) {
    thread_local std::vector<float> scratch;
    if (scratch.size() < static_cast<std::size_t>(rows * panel_width))
      scratch.resize(static_cast<std::size_t>(rows * panel_width));
    float* const sums = scratch.data();
    with_instruction_set(
        team.instructions(), [&](auto width) __attribute__((always_inline)) {
          std::size_t product = 0;
          std::int64_t before = 0;
          for (std::int64_t p = first; p < last; ++p) {
            while (p - before >= products[product].weight->panels())
              before += products[product++].weight->panels();
            one_panel<decltype(width)::value>(x, whole, rows, products[product], p - before, sums, vnni);
          }
        });
  });
}

namespace {

/// One element with int8, without the bias. @param x the row
float int8_reference(const packed_matrix& w, std::int64_t output, const float* x) {
  const std::int8_t* panel = w.panel<std::int8_t>(output / panel_width);
  const std::int64_t in = w.in(), column = output % panel_width;
  float y = 0;
  for (std::int64_t part = 0; part < in; part += part_inputs(in)) {
    const std::int64_t end = std::min(in, part + part_inputs(in));
    float largest = 0, total = 0;
    for (std::int64_t k = part; k < end; ++k)
      largest = std::max(largest, std::abs(x[k]));
    const float scale = std::ldexp(1.0f, largest > 0 ? std::max(std::ilogb(largest), -97) - 14 : 0);
    for (std::int64_t begin = part; begin < end; begin += int8_block) {
      const std::int8_t* block = panel + int8_layout::offset(begin);
      std::int64_t sum = 0;
      for (std::int64_t k = begin; k < std::min(end, begin + int8_block); ++k)
        sum += block[int8_layout::place(column, k - begin)] * std::lrint(std::min(x[k] / scale, 32767.0f));
      total += static_cast<float>(sum) * widened(reinterpret_cast<const half*>(block)[column]);
    }
    y += total * scale;
  }
  return y;
}

} // namespace

void packed_linear_reference(const float* x, std::int64_t rows, std::span<const packed_product> products) {
  check(products);
  for (const auto& [w, bias, y] : products) {
    std::vector<float> row(static_cast<std::size_t>(w->in()));
    for (std::int64_t o = 0; o < w->out(); ++o) {
      w->copy_row(o, row.data());
      for (std::int64_t r = 0; r < rows; ++r) {
        if (w->stored_as() == storage::int8) {
          y[r * w->out() + o] = int8_reference(*w, o, x + r * w->in()) + (bias ? bias[o] : 0.0f);
          continue;
        }
        double sum = 0;
        for (std::int64_t k = 0; k < w->in(); ++k)
          sum += static_cast<double>(x[r * w->in() + k]) * row[static_cast<std::size_t>(k)];
        y[r * w->out() + o] = static_cast<float>(sum + (bias ? bias[o] : 0.0));
      }
    }
  }
}

} // namespace millrace::kernels
