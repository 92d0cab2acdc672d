#include "kernels/packed_matrix.hpp"

#include "kernels/system_memory.hpp"
#include "kernels/thread_team.hpp"
#include "kernels/vector.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace millrace::kernels {
namespace {

constexpr std::int64_t panel_width = packed_matrix::panel_width;

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

/// Where output `index` of a panel stands within a step.
template <class Number>
constexpr std::int64_t place_of(std::int64_t index) {
  return std::is_same_v<Number, float> ? index : index % 16 * 2 + index / 16;
}

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

/// All rows of one panel. `scratch` [rows, panel_width] takes the sums where y has no room for a whole panel.
template <int width, class Number>
MILLRACE_INLINE void panel_product(const float* x, std::int64_t rows, const packed_matrix& w, std::int64_t index,
                                   const float* bias, float* y, float* scratch) {
  constexpr std::int64_t numbers_of_page = 4096 / sizeof(Number);
  const std::int64_t in = w.in(), out = w.out(), column = index * panel_width;
  const std::int64_t columns = std::min(panel_width, out - column);
  float* sums = columns == panel_width ? y + column : scratch;
  const std::int64_t stride = columns == panel_width ? out : panel_width;
  const std::int64_t tiles = (rows + tile_rows<width> - 1) / tile_rows<width>;
  for (std::int64_t k = 0; k < in; k += depth) {
    const std::int64_t steps = std::min(depth, in - k);
    const Number* part = w.panel<Number>(index) + k * panel_width;
    // With one tile the memory's own prefetcher needs only a head start in the next page; with more, the first ones
    // fetch what follows.
    for (std::int64_t t = 0; t < tiles; ++t) {
      const std::int64_t from = rows * t / tiles, to = rows * (t + 1) / tiles;
      const ahead<Number> next = tiles == 1 ? ahead<Number>{part + numbers_of_page, 32, 8}
                                 : t < 2    ? ahead<Number>{part + (steps + t * steps / 2) * panel_width, 16}
                                            : ahead<Number>{part, 0};
      tile_of<width, tile_rows<width>>(to - from, x + from * in + k, in, part, steps, sums + from * stride, stride,
                                       k == 0, next);
    }
  }
  if (sums == scratch || bias)
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t c = 0; c < columns; ++c)
        y[r * out + column + c] = sums[r * stride + c] + (bias ? bias[column + c] : 0.0f);
}

void check(std::span<const packed_product> products) {
  for (const auto& p : products)
    if (p.weight->in() != products[0].weight->in())
      throw std::invalid_argument("packed_linear: the weights' inputs differ: " + std::to_string(p.weight->in())
                                  + " and " + std::to_string(products[0].weight->in()));
}

} // namespace

std::size_t packed_matrix::bytes_of(std::int64_t out, std::int64_t in, storage stored_as) {
  if (out < 1 || in < 1)
    throw std::invalid_argument("packed_matrix: need out >= 1 and in >= 1");
  const auto numbers = static_cast<std::size_t>((out + panel_width - 1) / panel_width * panel_width * in);
  return numbers * (stored_as == storage::float32 ? sizeof(float) : sizeof(bfloat16));
}

template <class Number>
void packed_matrix::lay_out(const Number* w) {
  const std::size_t bytes = bytes_of(out_, in_, stored_as_);
  if (!data_)
    data_ = system_memory(bytes);
  constexpr std::int64_t block = 16;
  for (std::int64_t p = 0; p < panels(); ++p) {
    Number* to = reinterpret_cast<Number*>(data_.get()) + p * in_ * panel_width;
    const std::int64_t columns = std::min(panel_width, out_ - p * panel_width);
    for (std::int64_t k = 0; k < in_; k += block)
      for (std::int64_t c = 0; c < panel_width; ++c)
        for (std::int64_t i = k; i < std::min(in_, k + block); ++i)
          to[i * panel_width + place_of<Number>(c)] = c < columns ? w[(p * panel_width + c) * in_ + i] : Number{};
  }
}

packed_matrix::packed_matrix(const float* w, std::int64_t out, std::int64_t in, std::shared_ptr<std::byte> room)
    : out_(out), in_(in), stored_as_(storage::float32), data_(std::move(room)) {
  lay_out(w);
}

packed_matrix::packed_matrix(const bfloat16* w, std::int64_t out, std::int64_t in, std::shared_ptr<std::byte> room)
    : out_(out), in_(in), stored_as_(storage::bfloat16), data_(std::move(room)) {
  lay_out(w);
}

void packed_matrix::copy_row(std::int64_t index, float* to) const {
  const auto copy = [&]<class Number>(const Number* column) {
    for (std::int64_t k = 0; k < in_; ++k)
      to[k] = widened(column[k * panel_width]);
  };
  const std::int64_t at = index % panel_width;
  if (stored_as_ == storage::float32)
    copy(panel<float>(index / panel_width) + place_of<float>(at));
  else
    copy(panel<bfloat16>(index / panel_width) + place_of<bfloat16>(at));
}

void packed_linear(const float* x, std::int64_t rows, std::span<const packed_product> products, thread_team& team) {
  if (products.empty() || rows <= 0)
    return;
  check(products);
  std::int64_t panels = 0;
  for (const auto& p : products)
    panels += p.weight->panels();
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
            const auto& what = products[product];
            if (what.weight->stored_as() == storage::float32)
              panel_product<decltype(width)::value, float>(x, rows, *what.weight, p - before, what.bias, what.y, sums);
            else
              panel_product<decltype(width)::value, bfloat16>(x, rows, *what.weight, p - before, what.bias, what.y,
                                                              sums);
          }
        });
  });
}

void packed_linear_reference(const float* x, std::int64_t rows, std::span<const packed_product> products) {
  check(products);
  for (const auto& [w, bias, y] : products) {
    std::vector<float> row(static_cast<std::size_t>(w->in()));
    for (std::int64_t o = 0; o < w->out(); ++o) {
      w->copy_row(o, row.data());
      for (std::int64_t r = 0; r < rows; ++r) {
        double sum = 0;
        for (std::int64_t k = 0; k < w->in(); ++k)
          sum += static_cast<double>(x[r * w->in() + k]) * row[static_cast<std::size_t>(k)];
        y[r * w->out() + o] = static_cast<float>(sum + (bias ? bias[o] : 0.0));
      }
    }
  }
}

} // namespace millrace::kernels
