#include "kernels/packed_matrix.hpp"

#include "kernels/thread_team.hpp"
#include "kernels/vector.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>
#include <stdexcept>
#include <utility>
#include <vector>

namespace millrace::kernels {
namespace {

constexpr std::int64_t panel_width = packed_matrix::panel_width;

/// Inputs of one pass over a panel: x of a tile (8 x 512 floats) stays in the first-level cache under the panel's
/// stream.
constexpr std::int64_t depth = 512;

/// Where a tile's panel is followed by the next one in memory order: what to fetch while computing.
struct ahead {
  const float* from;
  std::int64_t floats_per_step; ///< 0, 16 or 32
};

/// Steps that are summed in one chain. Rounding grows with the root of a chain's length: short chains, then their sums.
constexpr std::int64_t chain = 128;

/// y[rows, vectors * width] (+)= x[rows, steps] panel[steps, panel_width], each element in chains over the steps.
template <int rows, int vectors, int width>
MILLRACE_INLINE void tile(const float* x, std::int64_t x_stride, const float* panel, std::int64_t steps, float* y,
                          std::int64_t y_stride, bool first, ahead next) {
  using V = vector<width>;
  const float* fetch = next.from;
  for (std::int64_t begin = 0; begin < steps; begin += chain, first = false) {
    V sums[rows][vectors] = {};
    for (std::int64_t k = begin; k < std::min(steps, begin + chain);
         ++k, panel += panel_width, fetch += next.floats_per_step) {
      __builtin_prefetch(fetch, 0, 2);
      V w[vectors];
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v)
        w[v] = load<V>(panel + v * width);
#pragma GCC unroll 16
      for (int r = 0; r < rows; ++r) {
        const V in = V{} + x[r * x_stride + k];
#pragma GCC unroll 4
        for (int v = 0; v < vectors; ++v)
          sums[r][v] += in * w[v];
      }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) {
        float* to = y + r * y_stride + v * width;
        store(to, first ? sums[r][v] : load<V>(to) + sums[r][v]);
      }
  }
}

/// How many registers of sums a tile has: 2 of weights, 1 of input, and what is left of 32 or 16.
template <int width>
constexpr int tile_rows = width == 16 ? 8 : 6;
constexpr int tile_vectors = 2;

template <int width, int rows>
MILLRACE_INLINE void tile_of(std::int64_t count, const float* x, std::int64_t x_stride, const float* panel,
                             std::int64_t steps, float* y, std::int64_t y_stride, bool first, ahead next) {
  if (count == rows)
    for (int c = 0; c < panel_width; c += tile_vectors * width)
      tile<rows, tile_vectors, width>(x, x_stride, panel + c, steps, y + c, y_stride, first, next);
  else if constexpr (rows > 1)
    tile_of<width, rows - 1>(count, x, x_stride, panel, steps, y, y_stride, first, next);
}

/// All rows of one panel. `scratch` [rows, panel_width] takes the sums where y has no room for a whole panel.
template <int width>
MILLRACE_INLINE void panel_product(const float* x, std::int64_t rows, const packed_matrix& w, std::int64_t index,
                                   const float* bias, float* y, float* scratch) {
  const std::int64_t in = w.in(), out = w.out(), column = index * panel_width;
  const std::int64_t columns = std::min(panel_width, out - column);
  float* sums = columns == panel_width ? y + column : scratch;
  const std::int64_t stride = columns == panel_width ? out : panel_width;
  const std::int64_t tiles = (rows + tile_rows<width> - 1) / tile_rows<width>;
  for (std::int64_t k = 0; k < in; k += depth) {
    const std::int64_t steps = std::min(depth, in - k);
    const float* part = w.panel(index) + k * panel_width;
    // With one tile the memory's own prefetcher needs only a head start; with more, the first ones fetch what follows.
    for (std::int64_t t = 0; t < tiles; ++t) {
      const std::int64_t from = rows * t / tiles, to = rows * (t + 1) / tiles;
      const ahead next = tiles == 1 ? ahead{part + 1024, 32}
                         : t < 2    ? ahead{part + (steps + t * steps / 2) * panel_width, 16}
                                    : ahead{part, 0};
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

void packed_matrix::release::operator()(float* data) const {
  std::free(data);
}

packed_matrix::packed_matrix(const float* w, std::int64_t out, std::int64_t in) : out_(out), in_(in) {
  if (out < 1 || in < 1)
    throw std::invalid_argument("packed_matrix: need out >= 1 and in >= 1");
  constexpr std::size_t page = std::size_t{2} << 20;
  const std::size_t bytes = static_cast<std::size_t>(panels() * in * panel_width) * sizeof(float);
  const std::size_t alignment = bytes >= page ? page : 64;
  data_.reset(static_cast<float*>(std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment)));
  if (!data_)
    throw std::bad_alloc();
  if (alignment == page)
    ::madvise(data_.get(), bytes, MADV_HUGEPAGE); // fewer page walks where the kernel has large pages; else nothing
  constexpr std::int64_t block = 16;
  for (std::int64_t p = 0; p < panels(); ++p) {
    float* to = data_.get() + p * in * panel_width;
    const std::int64_t columns = std::min(panel_width, out - p * panel_width);
    for (std::int64_t k = 0; k < in; k += block)
      for (std::int64_t c = 0; c < panel_width; ++c)
        for (std::int64_t i = k; i < std::min(in, k + block); ++i)
          to[i * panel_width + c] = c < columns ? w[(p * panel_width + c) * in + i] : 0.0f;
  }
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
            panel_product<decltype(width)::value>(x, rows, *what.weight, p - before, what.bias, what.y, sums);
          }
        });
  });
}

void packed_linear_reference(const float* x, std::int64_t rows, std::span<const packed_product> products) {
  check(products);
  for (const auto& [w, bias, y] : products)
    for (std::int64_t r = 0; r < rows; ++r)
      for (std::int64_t o = 0; o < w->out(); ++o) {
        const float* column = w->panel(o / panel_width) + o % panel_width;
        double sum = 0;
        for (std::int64_t k = 0; k < w->in(); ++k)
          sum += static_cast<double>(x[r * w->in() + k]) * column[k * panel_width];
        y[r * w->out() + o] = static_cast<float>(sum + (bias ? bias[o] : 0.0));
      }
}

} // namespace millrace::kernels
