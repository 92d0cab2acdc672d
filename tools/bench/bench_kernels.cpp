// The kernels of SmolLM2-135M alone. Prints JSON lines: what this machine can do at best, then
// - attention over the cache (9 heads, 3 kv heads of 64) in prefill and in decoding, in CPU time, best of several;
// - the products of a decode step (106 M weights of its layers, as [1536, 576] matrices) with few rows: packed_linear
//   against LibTorch's at::linear, and against itself with weights in bfloat16 and in int8 (there in CPU time), in
//   turns, best of several.
//
//   bench_kernels [threads] [attention | products]

#include "kernels/cached_attention.hpp"
#include "kernels/packed_matrix.hpp"
#include "kernels/system_memory.hpp"
#include "kernels/thread_team.hpp"
#include "kernels/vector.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <string_view>
#include <vector>

namespace {

using namespace millrace;
using kernels::packed_matrix;
using kernels::thread_team;

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpu_now() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

template <int width>
MILLRACE_INLINE float multiply_add(std::int64_t rounds) {
  using V = kernels::vector<width>;
  V sums[12];
  for (int j = 0; j < 12; ++j)
    sums[j] = V{} + 1.0f / static_cast<float>(rounds + j); // all different: twelve chains, not one
  const V factor = V{} + 0.999f, term = V{} + 0.001f;
  for (std::int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 12
    for (int j = 0; j < 12; ++j)
      sums[j] = sums[j] * factor + term;
  }
  float total = 0;
  for (auto& s : sums)
    total += s[0];
  return total;
}

double peak_gflops(thread_team& team) {
  constexpr std::int64_t rounds = 4'000'000;
  const int width = team.instructions() >= kernels::instruction_set::avx512 ? 16
                    : team.instructions() == kernels::instruction_set::avx2 ? 8
                                                                            : 4;
  std::vector<float> sink(static_cast<std::size_t>(team.threads()));
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const double start = now();
    team.run(team.threads(), 1, [&](std::int64_t first, std::int64_t) {
      with_instruction_set(
          team.instructions(), [&](auto w) __attribute__((always_inline)) {
            sink[static_cast<std::size_t>(first)] = multiply_add<decltype(w)::value>(rounds);
          });
    });
    best = std::max(best, 2.0 * 12 * width * rounds * team.threads() / (now() - start) * 1e-9);
  }
  return best;
}

double read_gb_s(thread_team& team, const std::vector<std::unique_ptr<packed_matrix>>& weights) {
  std::vector<float> sink(weights.size());
  double best = 0;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const double start = now();
    team.run(static_cast<std::int64_t>(weights.size()), 1, [&](std::int64_t first, std::int64_t) {
      with_instruction_set(
          team.instructions(), [&](auto width) __attribute__((always_inline)) {
            const auto& w = *weights[static_cast<std::size_t>(first)];
            using V = kernels::vector<decltype(width)::value>;
            V sums[4] = {};
            for (const float *p = w.panel<float>(0), *end = w.panel<float>(w.panels()); p < end; p += 4 * width)
              for (int j = 0; j < 4; ++j)
                sums[j] += kernels::load<V>(p + j * width);
            sink[static_cast<std::size_t>(first)] = (sums[0] + sums[1] + sums[2] + sums[3])[0];
          });
    });
    double bytes = 0;
    for (const auto& w : weights)
      bytes += 4.0 * static_cast<double>(w->panels() * packed_matrix::panel_width * w->in());
    best = std::max(best, bytes / (now() - start) * 1e-9);
  }
  return best;
}

/// The rows of one call of attention: `sequences` of `rows` rows each, the last one at `context` - 1. Sequences may
/// share their first tokens, as the answers of a group share their prompt.
struct attention_shape {
  const char* what;
  std::int64_t sequences, rows, context, shared;
};

constexpr attention_shape attention_shapes[] = {
    {"prefill of 512 rows, context 512", 1, 512, 512, 0},
    {"prefill of 512 rows, context 1,024", 1, 512, 1024, 0},
    {"prefill of 512 rows, context 4,096", 1, 512, 4096, 0},
    {"decode, batch 1, context 50", 1, 1, 50, 0},
    {"decode, batch 1, context 2,000", 1, 1, 2000, 0},
    {"decode, batch 8, context 50", 8, 1, 50, 0},
    {"decode, batch 8, context 2,000", 8, 1, 2000, 0},
    {"decode, batch 8 of one prompt, context 2,000", 8, 1, 2000, 1984},
};

/// What attention of that shape is given. A block holds `layers` layers and each call takes the next one, so that keys
/// and values come from as far away as they do in a decode step.
template <class Number>
class attention_call {
public:
  explicit attention_call(const attention_shape& shape) {
    constexpr std::int64_t tokens = kernels::cache_block_tokens;
    for (std::int64_t s = 0; s < shape.sequences; ++s) {
      auto& table = tables_.emplace_back();
      for (std::int64_t first = 0; first < shape.context; first += tokens) {
        if (s > 0 && first + tokens <= shape.shared) {
          table.push_back(tables_[0][table.size()]);
          continue;
        }
        memory_.push_back(random_numbers());
        table.push_back(memory_.back().data_ptr());
      }
    }
    for (const auto& table : tables_)
      for (std::int64_t r = 0; r < shape.rows; ++r)
        places_.push_back({table.data(), shape.context - shape.rows + r});
    q_ = at::randn({static_cast<std::int64_t>(places_.size()), heads, dim});
    y_ = at::empty_like(q_);
  }

  void run(std::int64_t layer, thread_team& team) {
    kernels::cached_attention({.q = q_.template data_ptr<float>(),
                               .places = places_.data(),
                               .y = y_.template data_ptr<float>(),
                               .rows = static_cast<std::int64_t>(places_.size()),
                               .heads = heads,
                               .kv_heads = kv_heads,
                               .head_dim = dim,
                               .layer_offset = layer % layers * layer_numbers,
                               .cached_as = cached_as},
                              team);
  }

  double flops() const {
    double seen = 0;
    for (const auto& place : places_)
      seen += static_cast<double>(place.position + 1);
    return 4.0 * heads * dim * seen;
  }

private:
  static constexpr std::int64_t heads = 9, kv_heads = 3, dim = 64, layers = 8;
  static constexpr auto cached_as = std::is_same_v<Number, float>               ? kernels::storage::float32
                                    : std::is_same_v<Number, kernels::bfloat16> ? kernels::storage::bfloat16
                                                                                : kernels::storage::int8;
  static constexpr std::int64_t layer_numbers = kernels::cache_layer_numbers(kv_heads, dim, cached_as);

  /// A block. Bytes are such that scales, read as floats, are small and finite: 0x0d0d0d0d and the like.
  static at::Tensor random_numbers() {
    if constexpr (cached_as == kernels::storage::int8)
      return at::randint(8, 16, {layers * layer_numbers}, at::kChar);
    else
      return at::randn({layers * layer_numbers})
          .to(cached_as == kernels::storage::float32 ? at::kFloat : at::kBFloat16);
  }

  std::vector<at::Tensor> memory_;
  std::vector<std::vector<void*>> tables_;
  std::vector<kernels::cache_place> places_;
  at::Tensor q_, y_;
};

/// CPU seconds and seconds of one call.
template <class Number>
std::pair<double, double> attention_time(const attention_shape& shape, thread_team& team) {
  attention_call<Number> call(shape);
  const auto calls = std::max<std::int64_t>(8, static_cast<std::int64_t>(1e9 / call.flops()));
  double best = 1e9, wall = 1e9;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const double start = now(), cpu = cpu_now();
    for (std::int64_t i = 0; i < calls; ++i)
      call.run(i, team);
    best = std::min(best, (cpu_now() - cpu) / static_cast<double>(calls));
    wall = std::min(wall, (now() - start) / static_cast<double>(calls));
  }
  return {best, wall};
}

void measure_attention(thread_team& team) {
  for (const auto& shape : attention_shapes) {
    const double flops = attention_call<float>(shape).flops();
    const auto [cpu, wall] = attention_time<float>(shape, team);
    const auto [half_cpu, half_wall] = attention_time<kernels::bfloat16>(shape, team);
    const auto [byte_cpu, byte_wall] = attention_time<std::int8_t>(shape, team);
    std::printf("{\"attention\":\"%s\",\"cpu_ms\":%.3f,\"ms\":%.3f,\"gflops\":%.1f,\"bfloat16_cpu_ms\":%.3f,"
                "\"bfloat16_ms\":%.3f,\"bfloat16_gflops\":%.1f,\"int8_cpu_ms\":%.3f,\"int8_ms\":%.3f,"
                "\"int8_gflops\":%.1f}\n",
                shape.what, cpu * 1e3, wall * 1e3, flops / cpu * 1e-9, half_cpu * 1e3, half_wall * 1e3,
                flops / half_cpu * 1e-9, byte_cpu * 1e3, byte_wall * 1e3, flops / byte_cpu * 1e-9);
    std::fflush(stdout);
  }
}

constexpr std::int64_t out = 1536, in = 576, count = 120;

/// All matrices of one kind in one piece of memory, as a decoder has them: else small ones get no large pages.
template <class Make>
std::vector<std::unique_ptr<packed_matrix>> laid_out(kernels::storage stored_as, const Make& make) {
  const std::size_t bytes = packed_matrix::bytes_of(out, in, stored_as);
  const auto all = kernels::system_memory(bytes * count);
  std::vector<std::unique_ptr<packed_matrix>> made;
  for (std::size_t i = 0; i < count; ++i)
    made.push_back(std::make_unique<packed_matrix>(make(i, std::shared_ptr<std::byte>(all, all.get() + i * bytes))));
  return made;
}

void measure_products(thread_team& team, double peak) {
  using room = std::shared_ptr<std::byte>;
  std::vector<at::Tensor> plain;
  for (std::int64_t i = 0; i < count; ++i)
    plain.push_back(at::randn({out, in}));
  const auto packed = laid_out(kernels::storage::float32, [&](std::size_t i, const room& to) {
    return packed_matrix(plain[i].const_data_ptr<float>(), out, in, to);
  });
  const auto halves = laid_out(kernels::storage::bfloat16, [&](std::size_t i, const room& to) {
    const at::Tensor half = plain[i].to(at::kBFloat16);
    return packed_matrix(static_cast<const kernels::bfloat16*>(half.const_data_ptr()), out, in, to);
  });
  const auto bytes = laid_out(kernels::storage::int8, [&](std::size_t i, const room& to) {
    return packed_matrix::as_int8(plain[i].const_data_ptr<float>(), out, in, to);
  });
  const double bandwidth = read_gb_s(team, packed);
  std::printf("{\"read_gb_s\":%.1f}\n", bandwidth);
  for (const std::int64_t rows : {1, 2, 4, 8, 16, 32, 64, 128, 256, 512}) {
    const at::Tensor x = at::randn({rows, in}), y = at::empty({rows, out});
    double ours = 1e9, theirs = 1e9, cpu = 1e9, half_cpu = 1e9, byte_cpu = 1e9;
    for (int repeat = 0; repeat < 5; ++repeat) {
      const auto multiply = [&](const auto& weights) {
        const double start = cpu_now();
        for (const auto& w : weights) {
          const kernels::packed_product product{w.get(), nullptr, y.data_ptr<float>()};
          kernels::packed_linear(x.data_ptr<float>(), rows, {&product, 1}, team);
        }
        return cpu_now() - start;
      };
      half_cpu = std::min(half_cpu, multiply(halves));
      byte_cpu = std::min(byte_cpu, multiply(bytes));
      double start = now();
      cpu = std::min(cpu, multiply(packed));
      ours = std::min(ours, now() - start);
      start = now();
      for (const auto& w : plain)
        at::linear(x, w);
      theirs = std::min(theirs, now() - start);
    }
    const double flops = 2.0 * rows * out * in * count, read = 4.0 * out * in * count;
    std::printf("{\"rows\":%lld,\"packed_ms\":%.2f,\"linear_ms\":%.2f,\"ratio\":%.2f,\"of_peak\":%.2f,"
                "\"of_bandwidth\":%.2f,\"cpu_ms\":%.2f,\"bfloat16_cpu_ms\":%.2f,\"bfloat16_ratio\":%.2f,"
                "\"int8_cpu_ms\":%.2f,\"int8_ratio\":%.2f}\n",
                static_cast<long long>(rows), ours * 1e3, theirs * 1e3, theirs / ours, flops / ours * 1e-9 / peak,
                read / ours * 1e-9 / bandwidth, cpu * 1e3, half_cpu * 1e3, cpu / half_cpu, byte_cpu * 1e3,
                cpu / byte_cpu);
  }
}

} // namespace

int main(int argc, char** argv) {
  const int threads = argc > 1 ? std::atoi(argv[1]) : 2;
  const std::string_view only = argc > 2 ? argv[2] : "";
  const c10::NoGradGuard no_grad;
  at::set_num_threads(threads);
  thread_team team(threads);
  const double peak = peak_gflops(team);
  std::printf("{\"threads\":%d,\"instructions\":\"%s\",\"peak_gflops\":%.0f}\n", threads, name(team.instructions()),
              peak);
  if (only != "products")
    measure_attention(team);
  if (only != "attention")
    measure_products(team, peak);
}
