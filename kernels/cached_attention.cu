#include "kernels/cached_attention.hpp"
#include "kernels/launch.cuh"

#include <cmath>

namespace millrace::kernels {
namespace {

constexpr int tokens = cache_block_tokens;
constexpr int warps = 8; ///< of a block; each takes every eighth block of the cache
constexpr int warp_size = 32;
constexpr int block_size = warps * warp_size;
constexpr unsigned whole_warp = 0xffffffff;
constexpr std::size_t most_shared = 48 * 1024; ///< bytes that a block gets unasked

__global__ void append_kernel(cached_attention_args a, const float* k, const float* v) {
  const std::int64_t row = blockIdx.x, width = a.kv_heads * a.head_dim; // one block per row
  const cache_place place = a.places[row];
  float* layer = static_cast<float*>(place.blocks[place.position / tokens]) + a.layer_offset;
  const std::int64_t t = place.position % tokens;
  for (std::int64_t i = threadIdx.x; i < width; i += block_size) {
    const std::int64_t head = i / a.head_dim, d = i % a.head_dim;
    layer[(head * a.head_dim + d) * tokens + t] = k[row * width + i];
    layer[((a.kv_heads + head) * tokens + t) * a.head_dim + d] = v[row * width + i];
  }
}

/// Floats of shared memory: the weights of a block of tokens, of each warp its peaks, totals and mixed values, the
/// queries.
__host__ __device__ constexpr std::int64_t shared_floats(int group, int dims, std::int64_t head_dim) {
  return static_cast<std::int64_t>(warps) * group * (tokens + 2 + warp_size * dims) + group * head_dim;
}

/// Where the arrays of a block lie in its shared memory.
template <int group, int dims>
struct shared_arrays {
  static constexpr int slice = warp_size * dims;

  float* weights; ///< [group, tokens] of this warp
  float* peaks;   ///< [warps, group]
  float* totals;  ///< [warps, group]
  float* mixed;   ///< [warps, group, slice]
  float* q;       ///< [group, head_dim], scaled

  __device__ __forceinline__ shared_arrays(float* shared, int warp)
      : weights(shared + warp * group * tokens), peaks(shared + warps * group * tokens), totals(peaks + warps * group),
        mixed(totals + warps * group), q(mixed + warps * group * slice) {}
};

/// The softmax of one warp over the blocks of the cache that it has taken. It refers to three arrays of the kernel:
/// nvcc 13 keeps those in registers better than members.
template <int group, int dims>
struct warp_softmax {
  float (&peak)[group];      ///< largest score
  float (&total)[group];     ///< sum of the weights, relative to the peak
  float (&sum)[group][dims]; ///< of weighted values: the numbers lane, lane + 32, ... of the slice
};

template <int group, int dims>
__device__ __forceinline__ void start(const warp_softmax<group, dims>& so_far) {
#pragma unroll
  for (int g = 0; g < group; ++g) {
    so_far.peak[g] = -INFINITY;
    so_far.total[g] = 0;
#pragma unroll
    for (int j = 0; j < dims; ++j)
      so_far.sum[g][j] = 0;
  }
}

/// This lane's part of the products of queries and keys. A lane takes 4 tokens and every eighth number of the head.
template <int group>
__device__ __forceinline__ void score_block(float4 (&score)[group], const float* block_keys, const float* q,
                                            int head_dim, int lane) {
  const float4* const keys = reinterpret_cast<const float4*>(block_keys) + lane % 4;
#pragma unroll
  for (int g = 0; g < group; ++g)
    score[g] = make_float4(0, 0, 0, 0);
#pragma unroll 8
  for (int d = lane / 4; d < head_dim; d += 8) {
    const float4 k = keys[d * 4];
#pragma unroll
    for (int g = 0; g < group; ++g) {
      const float x = q[g * head_dim + d];
      score[g].x += x * k.x;
      score[g].y += x * k.y;
      score[g].z += x * k.z;
      score[g].w += x * k.w;
    }
  }
}

/// The scores of this lane's 4 tokens, summed over the lanes; -inf for places from `seen` on.
__device__ __forceinline__ float4 whole_score(float4 s, int seen, int lane) {
#pragma unroll
  for (int offset = 4; offset < warp_size; offset *= 2) {
    s.x += __shfl_xor_sync(whole_warp, s.x, offset);
    s.y += __shfl_xor_sync(whole_warp, s.y, offset);
    s.z += __shfl_xor_sync(whole_warp, s.z, offset);
    s.w += __shfl_xor_sync(whole_warp, s.w, offset);
  }
  // Places of the last block that nobody has written hold anything, NaN too.
  const int t = lane % 4 * 4;
  s.x = t < seen ? s.x : -INFINITY;
  s.y = t + 1 < seen ? s.y : -INFINITY;
  s.z = t + 2 < seen ? s.z : -INFINITY;
  s.w = t + 3 < seen ? s.w : -INFINITY;
  return s;
}

/// Takes a block's scores into the softmax, and writes the weights of its tokens.
template <int group, int dims>
__device__ __forceinline__ void weigh_block(const warp_softmax<group, dims>& so_far, const float4 (&score)[group],
                                            float* weights, int seen, int lane) {
#pragma unroll
  for (int g = 0; g < group; ++g) {
    float4 s = whole_score(score[g], seen, lane);
    float high = fmaxf(fmaxf(s.x, s.y), fmaxf(s.z, s.w));
    high = fmaxf(high, __shfl_xor_sync(whole_warp, high, 1));
    high = fmaxf(high, __shfl_xor_sync(whole_warp, high, 2));
    high = fmaxf(high, so_far.peak[g]);
    const float kept = expf(so_far.peak[g] - high); // 0 at first: the peak of nothing is -inf
    s = make_float4(expf(s.x - high), expf(s.y - high), expf(s.z - high), expf(s.w - high));
    float more = (s.x + s.y) + (s.z + s.w);
    more += __shfl_xor_sync(whole_warp, more, 1);
    more += __shfl_xor_sync(whole_warp, more, 2);
    so_far.peak[g] = high;
    so_far.total[g] = so_far.total[g] * kept + more;
#pragma unroll
    for (int j = 0; j < dims; ++j)
      so_far.sum[g][j] *= kept;
    if (lane < 4)
      reinterpret_cast<float4*>(weights)[g * 4 + lane] = s;
  }
}

/// Adds a block's values by their weights. @param first_dim the slice's first number of the head
template <int group, int dims>
__device__ __forceinline__ void mix_block(const warp_softmax<group, dims>& so_far, const float* values,
                                          const float* weights, int seen, int head_dim, int first_dim, int lane) {
#pragma unroll
  for (int t = 0; t < tokens; t += 4) {
    float v[4][dims];
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < dims; ++j) {
        const int d = lane + warp_size * j;
        v[i][j] = t + i < seen && first_dim + d < head_dim ? values[(t + i) * head_dim + d] : 0.0f;
      }
#pragma unroll
    for (int g = 0; g < group; ++g) {
      const float4 w = reinterpret_cast<const float4*>(weights)[g * 4 + t / 4];
#pragma unroll
      for (int j = 0; j < dims; ++j) {
        so_far.sum[g][j] += w.x * v[0][j];
        so_far.sum[g][j] += w.y * v[1][j];
        so_far.sum[g][j] += w.z * v[2][j];
        so_far.sum[g][j] += w.w * v[3][j];
      }
    }
  }
}

/// Puts a warp's softmax where the whole block can read it.
template <int group, int dims>
__device__ __forceinline__ void hand_in(const warp_softmax<group, dims>& done, const shared_arrays<group, dims>& shared,
                                        int warp, int lane) {
#pragma unroll
  for (int g = 0; g < group; ++g) {
    if (lane == 0) {
      shared.peaks[warp * group + g] = done.peak[g];
      shared.totals[warp * group + g] = done.total[g];
    }
#pragma unroll
    for (int j = 0; j < dims; ++j)
      shared.mixed[(warp * group + g) * shared.slice + lane + warp_size * j] = done.sum[g][j];
  }
}

/// Number `d` of the slice of query head `g`: the softmaxes of all warps as one.
template <int group, int dims>
__device__ __forceinline__ float merged(const shared_arrays<group, dims>& shared, int g, int d) {
  float high = -INFINITY; // the first warp has a block always: its peak is finite
  for (int w = 0; w < warps; ++w)
    high = fmaxf(high, shared.peaks[w * group + g]);
  float all = 0, y = 0;
  for (int w = 0; w < warps; ++w) {
    const float part = expf(shared.peaks[w * group + g] - high);
    all += part * shared.totals[w * group + g];
    y += part * shared.mixed[(w * group + g) * shared.slice + d];
  }
  return y / all;
}

/// `group` query heads of one row over the keys and values that they share, and the numbers [z * 32 * dims, 32 * dims
/// more) of their result. Each warp keeps a softmax of its own over the cache's blocks it takes, in their order; then
/// the warps' are merged in theirs: nothing but the row's position decides in which order anything is added.
template <int group, int dims>
__global__ void __launch_bounds__(block_size) attention_kernel(cached_attention_args a, float scale) {
  extern __shared__ float4 shared_memory[];
  constexpr int slice = warp_size * dims;
  const int head_dim = static_cast<int>(a.head_dim), lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const std::int64_t first_head = static_cast<std::int64_t>(blockIdx.y) * group;
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * a.heads + first_head) * head_dim; // in q and y
  const std::int64_t kv_head = first_head / (a.heads / a.kv_heads);
  const int first_dim = static_cast<int>(blockIdx.z) * slice;

  const shared_arrays<group, dims> shared(reinterpret_cast<float*>(shared_memory), warp);
  for (int i = threadIdx.x; i < group * head_dim; i += block_size)
    shared.q[i] = a.q[first + i] * scale;

  const cache_place place = a.places[blockIdx.x];
  const std::int64_t count = place.position + 1, blocks = (count + tokens - 1) / tokens;
  const std::int64_t keys_at = a.layer_offset + kv_head * tokens * head_dim;
  const std::int64_t values_at = a.layer_offset + (a.kv_heads + kv_head) * tokens * head_dim + first_dim;
  float peak[group], total[group], sum[group][dims];
  const warp_softmax<group, dims> softmax{peak, total, sum};
  start(softmax);
  __syncthreads();

  for (std::int64_t b = warp; b < blocks; b += warps) {
    const float* const block = static_cast<const float*>(place.blocks[b]);
    const int seen = count - b * tokens < tokens ? static_cast<int>(count - b * tokens) : tokens;
    float4 score[group];
    score_block(score, block + keys_at, shared.q, head_dim, lane);
    weigh_block(softmax, score, shared.weights, seen, lane);
    __syncwarp();
    mix_block(softmax, block + values_at, shared.weights, seen, head_dim, first_dim, lane);
    __syncwarp(); // the next block's weights go where these are
  }

  hand_in(softmax, shared, warp, lane);
  __syncthreads();
  for (int i = threadIdx.x; i < group * slice; i += block_size) {
    const int g = i / slice, d = i % slice;
    if (first_dim + d < head_dim)
      a.y[first + static_cast<std::int64_t>(g) * head_dim + first_dim + d] = merged(shared, g, d);
  }
}

template <int group, int dims>
void launch_attention(const cached_attention_args& a, CUstream_st* stream) {
  constexpr std::int64_t slice = warp_size * dims;
  const dim3 grid(static_cast<unsigned>(a.rows), static_cast<unsigned>(a.heads / group),
                  static_cast<unsigned>((a.head_dim + slice - 1) / slice));
  const auto bytes = static_cast<std::size_t>(shared_floats(group, dims, a.head_dim)) * sizeof(float);
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(a.head_dim)));
  attention_kernel<group, dims><<<grid, block_size, bytes, stream>>>(a, scale);
  check_launch();
}

template <int dims>
void attend(const cached_attention_args& a, CUstream_st* stream) {
  // As many query heads at once as share a kv head, divide its heads and fit.
  const std::int64_t heads = a.heads / a.kv_heads;
  int group = 8;
  while (group > 1 && (heads % group != 0 || shared_floats(group, dims, a.head_dim) * sizeof(float) > most_shared))
    --group;
  switch (group) {
  case 8:
    return launch_attention<8, dims>(a, stream);
  case 7:
    return launch_attention<7, dims>(a, stream);
  case 6:
    return launch_attention<6, dims>(a, stream);
  case 5:
    return launch_attention<5, dims>(a, stream);
  case 4:
    return launch_attention<4, dims>(a, stream);
  case 3:
    return launch_attention<3, dims>(a, stream);
  case 2:
    return launch_attention<2, dims>(a, stream);
  default:
    return launch_attention<1, dims>(a, stream);
  }
}

void check(const cached_attention_args& a) {
  if (a.rows < 0 || a.kv_heads < 1 || a.head_dim < 1 || a.heads < 1 || a.heads % a.kv_heads != 0)
    throw std::invalid_argument("cached_attention: need rows >= 0, head_dim >= 1 and heads a multiple of kv_heads");
  if (a.cached_as != storage::float32)
    throw std::invalid_argument("cached_attention_cuda: need a cache of float32");
}

} // namespace

void append_to_cache_cuda(const cached_attention_args& a, const float* k, const float* v, CUstream_st* stream) {
  check(a);
  if (a.rows == 0)
    return; // a grid of zero blocks is a launch error
  append_kernel<<<static_cast<unsigned>(a.rows), block_size, 0, stream>>>(a, k, v);
  check_launch();
}

void cached_attention_cuda(const cached_attention_args& a, CUstream_st* stream) {
  check(a);
  if (a.rows == 0)
    return;
  if (a.head_dim <= 2 * warp_size)
    attend<2>(a, stream);
  else
    attend<4>(a, stream);
}

} // namespace millrace::kernels
