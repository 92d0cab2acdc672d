#include "kernels/launch.cuh"
#include "kernels/sample_token.hpp"

#include <cmath>

namespace millrace::kernels {
namespace {

constexpr int block_size = 512;
constexpr int warp_size = 32;
constexpr int warps = block_size / warp_size;
constexpr unsigned whole_warp = 0xffffffff;

/// A sum of weights in units of 2^-40 of the likeliest word's: integers, so that no order of adding changes it.
using weight_sum = unsigned long long;
constexpr float one = 0x1p40f;
constexpr std::int64_t largest_vocab = 1 << 23; ///< whose weights add up to no more than 2^63

/// Some words of a row: what they weigh together and how many there are.
struct mass {
  weight_sum weight;
  unsigned long long words;
};

struct room {
  mass of_warp[warps];
  float peaks[warps];
  int found;
};

struct row_view {
  const float* logits;
  std::int64_t vocab;
  float peak, inverse;
  room* shared;
};

/// The bits of floats in the floats' order; -0 and 0 are one.
__device__ unsigned key_of(float x) {
  const unsigned bits = __float_as_uint(x + 0.0f);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

__device__ float float_of(unsigned key) {
  return __uint_as_float(key & 0x80000000u ? key & 0x7fffffffu : ~key);
}

/// Nothing of a word that is less than `least` times as likely as the likeliest.
__device__ weight_sum weight_of(const row_view& row, float x, float least = 0) {
  const float weight = expf((x - row.peak) * row.inverse);
  return weight < least ? 0 : __float2ull_rn(weight * one);
}

/// The sum over the block's threads, in every thread.
__device__ mass block_mass(mass m, room& shared) {
  for (int offset = warp_size / 2; offset > 0; offset /= 2) {
    m.weight += __shfl_down_sync(whole_warp, m.weight, offset);
    m.words += __shfl_down_sync(whole_warp, m.words, offset);
  }
  if (threadIdx.x % warp_size == 0)
    shared.of_warp[threadIdx.x / warp_size] = m;
  __syncthreads();
  mass all{};
  for (int w = 0; w < warps; ++w) {
    all.weight += shared.of_warp[w].weight;
    all.words += shared.of_warp[w].words;
  }
  __syncthreads(); // `shared` may be written again
  return all;
}

__device__ float block_peak(const float* logits, std::int64_t vocab, room& shared) {
  float peak = -INFINITY;
  for (std::int64_t v = threadIdx.x; v < vocab; v += block_size)
    peak = fmaxf(peak, logits[v]);
  for (int offset = warp_size / 2; offset > 0; offset /= 2)
    peak = fmaxf(peak, __shfl_down_sync(whole_warp, peak, offset));
  if (threadIdx.x % warp_size == 0)
    shared.peaks[threadIdx.x / warp_size] = peak;
  __syncthreads();
  for (int w = 0; w < warps; ++w)
    peak = fmaxf(w == 0 ? -INFINITY : peak, shared.peaks[w]);
  return peak;
}

/// Words [first, last).
__device__ mass mass_between(const row_view& row, std::int64_t first, std::int64_t last, float least) {
  mass m{};
  for (std::int64_t v = first + threadIdx.x; v < last; v += block_size)
    m.weight += weight_of(row, row.logits[v], least);
  return block_mass(m, *row.shared);
}

/// Words with this key or a larger one.
__device__ mass mass_from(const row_view& row, unsigned key) {
  mass m{};
  for (std::int64_t v = threadIdx.x; v < row.vocab; v += block_size)
    if (key_of(row.logits[v]) >= key) {
      m.weight += weight_of(row, row.logits[v]);
      ++m.words;
    }
  return block_mass(m, *row.shared);
}

/// A place in the order of likelihood, equals in their own order.
struct place {
  unsigned key;
  unsigned long long nth; ///< among the words with this key, from 1
  weight_sum through;     ///< weight of the words up to and with it
};

/// Where the words' number (`by_words`) or weight reaches `target`, which all of them together do; target >= 1.
__device__ place place_of(const row_view& row, unsigned long long target, bool by_words) {
  unsigned low = key_of(-INFINITY), high = key_of(row.peak);
  while (low < high) {
    const unsigned middle = low + (high - low + 1) / 2;
    const mass m = mass_from(row, middle);
    if ((by_words ? m.words : m.weight) >= target)
      low = middle;
    else
      high = middle - 1;
  }
  const mass before = mass_from(row, low + 1);
  const weight_sum each = weight_of(row, float_of(low));
  const unsigned long long nth = by_words    ? target - before.words
                                 : each == 0 ? 1
                                             : (target - before.weight + each - 1) / each;
  return {low, nth, before.weight + nth * each};
}

/// The word at a place.
__device__ int word_at(const row_view& row, unsigned key, unsigned long long nth) {
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  for (std::int64_t first = 0; first < row.vocab; first += block_size) {
    const std::int64_t v = first + threadIdx.x;
    const bool same = v < row.vocab && key_of(row.logits[v]) == key;
    const auto here = static_cast<unsigned long long>(__syncthreads_count(same));
    if (here < nth) {
      nth -= here;
      continue;
    }
    const unsigned of_warp = __ballot_sync(whole_warp, same);
    if (lane == 0)
      row.shared->of_warp[warp].words = __popc(of_warp);
    __syncthreads();
    unsigned long long rank = __popc(of_warp & (0xffffffffu >> (31 - lane))); // with this lane
    for (int w = 0; w < warp; ++w)
      rank += row.shared->of_warp[w].words;
    if (same && rank == nth)
      row.shared->found = static_cast<int>(v);
    __syncthreads();
    return row.shared->found;
  }
  return 0;
}

/// The word with which the weights, in the words' own order, reach `target` (>= 1), which all of them together do.
__device__ int word_in_order(const row_view& row, weight_sum target, float least) {
  constexpr std::int64_t stride = 8 * block_size;
  std::int64_t first = 0;
  for (; first + stride < row.vocab; first += stride) {
    const weight_sum here = mass_between(row, first, first + stride, least).weight;
    if (target <= here)
      break;
    target -= here;
  }
  for (; first + block_size < row.vocab; first += block_size) {
    const weight_sum here = mass_between(row, first, first + block_size, least).weight;
    if (target <= here)
      break;
    target -= here;
  }
  const int lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const std::int64_t v = first + threadIdx.x;
  const weight_sum own = v < row.vocab ? weight_of(row, row.logits[v], least) : 0;
  weight_sum through = own;
  for (int offset = 1; offset < warp_size; offset *= 2) {
    const weight_sum before = __shfl_up_sync(whole_warp, through, offset);
    if (lane >= offset)
      through += before;
  }
  if (lane == warp_size - 1)
    row.shared->of_warp[warp].weight = through;
  __syncthreads();
  for (int w = 0; w < warp; ++w)
    through += row.shared->of_warp[w].weight;
  if (through - own < target && target <= through)
    row.shared->found = static_cast<int>(v);
  __syncthreads();
  return row.shared->found;
}

__global__ void __launch_bounds__(block_size) sample_kernel(sample_token_args a) {
  __shared__ room shared;
  const std::int64_t r = blockIdx.x; // one block per row
  const sampling_rule rule = a.rules[r];
  const float* logits = a.logits[r];
  if (threadIdx.x == 0)
    shared.found = 0;
  const row_view row{logits, a.vocab, block_peak(logits, a.vocab, shared),
                     rule.temperature > 0 ? 1.0f / rule.temperature : 1.0f, &shared};
  const mass all = mass_from(row, key_of(-INFINITY) + 1); // without the masked
  int token;
  if (rule.temperature == 0) {
    token = word_at(row, key_of(row.peak), 1);
  } else {
    weight_sum total = all.weight;
    const bool fewer = rule.top_k > 0 && static_cast<unsigned long long>(rule.top_k) < all.words;
    if (fewer)
      total = place_of(row, static_cast<unsigned long long>(rule.top_k), true).through;
    if (rule.top_p < 1) {
      const auto want = static_cast<weight_sum>(ceil(static_cast<double>(rule.top_p) * static_cast<double>(total)));
      total = place_of(row, want < 1 ? 1 : want < total ? want : total, false).through;
    }
    if (rule.min_p
        > 0) { // what it leaves is, as what top-k and top-p leave, the first words in the order of likelihood
      const weight_sum enough = mass_between(row, 0, a.vocab, rule.min_p).weight;
      total = enough < total ? enough : total;
    }
    auto below = static_cast<weight_sum>(a.uniform[r] * static_cast<double>(total));
    below = below < total ? below : total - 1;
    if (fewer || rule.top_p < 1) {
      const place drawn = place_of(row, below + 1, false);
      token = word_at(row, drawn.key, drawn.nth);
    } else {
      token = word_in_order(row, below + 1, rule.min_p);
    }
  }
  if (threadIdx.x == 0) {
    a.token[r] = token;
    a.logprob[r] = static_cast<float>(static_cast<double>((logits[token] - row.peak) * row.inverse)
                                      - log(static_cast<double>(all.weight) / static_cast<double>(one)));
  }
}

} // namespace

void sample_token_cuda(const sample_token_args& a, CUstream_st* stream) {
  if (a.rows < 0 || a.vocab < 1 || a.vocab > largest_vocab)
    throw std::invalid_argument("sample_token: need rows >= 0, vocab in [1, 2^23]");
  if (a.rows == 0)
    return; // a grid of zero blocks is a launch error
  sample_kernel<<<static_cast<unsigned>(a.rows), block_size, 0, stream>>>(a);
  check_launch();
}

} // namespace millrace::kernels
