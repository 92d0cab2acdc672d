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
  float* layer = place.blocks[place.position / tokens] + a.layer_offset;
  const std::int64_t t = place.position % tokens;
  for (std::int64_t i = threadIdx.x; i < width; i += block_size) {
    const std::int64_t head = i / a.head_dim, d = i % a.head_dim;
    layer[(head * a.head_dim + d) * tokens + t] = k[row * width + i];
    layer[((a.kv_heads + head) * tokens + t) * a.head_dim + d] = v[row * width + i];
  }
}

/// Floats of shared memory: the weights of a block of tokens, of each warp its peaks, totals and mixed values, the queries.
__host__ __device__ constexpr std::int64_t shared_floats(int group, int dims, std::int64_t head_dim) {
  return static_cast<std::int64_t>(warps) * group * (tokens + 2 + warp_size * dims) + group * head_dim;
}

/// `group` query heads of one row over the keys and values that they share, and the numbers [z * 32 * dims, 32 * dims more)
/// of their result. Each warp keeps a softmax of its own over the cache's blocks it takes, in their order; then the warps'
/// are merged in theirs: nothing but the row's position decides in which order anything is added.
template <int group, int dims>
__global__ void __launch_bounds__(block_size) attention_kernel(cached_attention_args a, float scale) {
  extern __shared__ float4 shared[];
  constexpr int slice = warp_size * dims;
  const int head_dim = static_cast<int>(a.head_dim), lane = threadIdx.x % warp_size, warp = threadIdx.x / warp_size;
  const std::int64_t first_head = static_cast<std::int64_t>(blockIdx.y) * group;
  const std::int64_t first = (static_cast<std::int64_t>(blockIdx.x) * a.heads + first_head) * head_dim; // in q and y
  const std::int64_t kv_head = first_head / (a.heads / a.kv_heads);
  const int first_dim = static_cast<int>(blockIdx.z) * slice;

  float* const weights = reinterpret_cast<float*>(shared) + warp * group * tokens; // [group, tokens] of this warp
  float* const peaks = reinterpret_cast<float*>(shared) + warps * group * tokens;  // [warps, group]
  float* const totals = peaks + warps * group;                                     // [warps, group]
  float* const mixed = totals + warps * group;                                     // [warps, group, slice]
  float* const q = mixed + warps * group * slice;                                  // [group, head_dim]
  for (int i = threadIdx.x; i < group * head_dim; i += block_size)
    q[i] = a.q[first + i] * scale;

  const cache_place place = a.places[blockIdx.x];
  const std::int64_t count = place.position + 1, blocks = (count + tokens - 1) / tokens;
  const std::int64_t keys_at = a.layer_offset + kv_head * tokens * head_dim;
  const std::int64_t values_at = a.layer_offset + (a.kv_heads + kv_head) * tokens * head_dim + first_dim;
  float peak[group], total[group], sum[group][dims];
#pragma unroll
  for (int g = 0; g < group; ++g) {
    peak[g] = -INFINITY;
    total[g] = 0;
#pragma unroll
    for (int j = 0; j < dims; ++j)
      sum[g][j] = 0;
  }
  __syncthreads();

  for (std::int64_t b = warp; b < blocks; b += warps) {
    const float* const block = place.blocks[b];
    const int seen = count - b * tokens < tokens ? static_cast<int>(count - b * tokens) : tokens;

    // A lane takes 4 tokens and every eighth number of the head.
    const float4* const keys = reinterpret_cast<const float4*>(block + keys_at) + lane % 4;
    float4 score[group];
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
#pragma unroll
    for (int g = 0; g < group; ++g) {
      float4 s = score[g];
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
      float high = fmaxf(fmaxf(s.x, s.y), fmaxf(s.z, s.w));
      high = fmaxf(high, __shfl_xor_sync(whole_warp, high, 1));
      high = fmaxf(high, __shfl_xor_sync(whole_warp, high, 2));
      high = fmaxf(high, peak[g]);
      const float kept = expf(peak[g] - high); // 0 at first: the peak of nothing is -inf
      s = make_float4(expf(s.x - high), expf(s.y - high), expf(s.z - high), expf(s.w - high));
      float more = (s.x + s.y) + (s.z + s.w);
      more += __shfl_xor_sync(whole_warp, more, 1);
      more += __shfl_xor_sync(whole_warp, more, 2);
      peak[g] = high;
      total[g] = total[g] * kept + more;
#pragma unroll
      for (int j = 0; j < dims; ++j)
        sum[g][j] *= kept;
      if (lane < 4)
        reinterpret_cast<float4*>(weights)[g * 4 + lane] = s;
    }
    __syncwarp();

    const float* const values = block + values_at;
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
          sum[g][j] += w.x * v[0][j];
          sum[g][j] += w.y * v[1][j];
          sum[g][j] += w.z * v[2][j];
          sum[g][j] += w.w * v[3][j];
        }
      }
    }
    __syncwarp(); // the next block's weights go where these are
  }

#pragma unroll
  for (int g = 0; g < group; ++g) {
    if (lane == 0) {
      peaks[warp * group + g] = peak[g];
      totals[warp * group + g] = total[g];
    }
#pragma unroll
    for (int j = 0; j < dims; ++j)
      mixed[(warp * group + g) * slice + lane + warp_size * j] = sum[g][j];
  }
  __syncthreads();
  for (int i = threadIdx.x; i < group * slice; i += block_size) {
    const int g = i / slice, d = i % slice;
    if (first_dim + d >= head_dim)
      continue;
    float high = -INFINITY; // the first warp has a block always: its peak is finite
    for (int w = 0; w < warps; ++w)
      high = fmaxf(high, peaks[w * group + g]);
    float all = 0, y = 0;
    for (int w = 0; w < warps; ++w) {
      const float part = expf(peaks[w * group + g] - high);
      all += part * totals[w * group + g];
      y += part * mixed[(w * group + g) * slice + d];
    }
    a.y[first + static_cast<std::int64_t>(g) * head_dim + first_dim + d] = y / all;
  }
}

template <int group, int dims> void launch_attention(const cached_attention_args& a, CUstream_st* stream) {
  constexpr std::int64_t slice = warp_size * dims;
  const dim3 grid(static_cast<unsigned>(a.rows), static_cast<unsigned>(a.heads / group), static_cast<unsigned>((a.head_dim + slice - 1) / slice));
  const auto bytes = static_cast<std::size_t>(shared_floats(group, dims, a.head_dim)) * sizeof(float);
  const auto scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(a.head_dim)));
  attention_kernel<group, dims><<<grid, block_size, bytes, stream>>>(a, scale);
  check_launch();
}

template <int dims> void attend(const cached_attention_args& a, CUstream_st* stream) {
  // As many query heads at once as share a kv head, divide its heads and fit.
  const std::int64_t heads = a.heads / a.kv_heads;
  int group = 8;
  while (group > 1 && (heads % group != 0 || shared_floats(group, dims, a.head_dim) * sizeof(float) > most_shared))
    --group;
  switch (group) {
  case 8: return launch_attention<8, dims>(a, stream);
  case 7: return launch_attention<7, dims>(a, stream);
  case 6: return launch_attention<6, dims>(a, stream);
  case 5: return launch_attention<5, dims>(a, stream);
  case 4: return launch_attention<4, dims>(a, stream);
  case 3: return launch_attention<3, dims>(a, stream);
  case 2: return launch_attention<2, dims>(a, stream);
  default: return launch_attention<1, dims>(a, stream);
  }
}

void check(const cached_attention_args& a) {
  if (a.rows < 0 || a.kv_heads < 1 || a.head_dim < 1 || a.heads < 1 || a.heads % a.kv_heads != 0)
    throw std::invalid_argument("cached_attention: need rows >= 0, head_dim >= 1 and heads a multiple of kv_heads");
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
