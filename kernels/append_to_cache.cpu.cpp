#include "kernels/cache_layout.hpp"
#include "kernels/thread_team.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace millrace::kernels {
namespace {

/// The numbers of one token and head as they are stored.
template <class Number>
class stored_numbers {
public:
  stored_numbers(const float* from, std::int64_t) : from_(from) {}

  Number operator[](std::int64_t d) const {
    if constexpr (std::is_same_v<Number, float>)
      return from_[d];
    else
      return rounded(from_[d]);
  }

private:
  const float* from_;
};

template <>
class stored_numbers<std::int8_t> {
public:
  stored_numbers(const float* from, std::int64_t count) : from_(from) {
    constexpr float smallest = 0x1p-100f; // below it steps would have no inverse: the numbers are stored as 0
    float sum = 0;                        // of no finite number it is not finite either: 0 * inf is NaN
    for (std::int64_t d = 0; d < count; ++d) {
      largest_ = std::max(largest_, std::abs(from[d]));
      sum += from[d] * 0.0f;
    }
    if (sum != 0)
      largest_ = std::numeric_limits<float>::quiet_NaN();
    else
      steps_ = largest_ < smallest ? 0 : 127.0f / largest_;
  }

  float scale() const { return largest_ / 127.0f; }

  std::int8_t operator[](std::int64_t d) const {
    if (steps_ == 0)
      return 0;
    constexpr float round = 0x1.8p23f; // adding and taking it away again rounds to a whole number
    return static_cast<std::int8_t>(from_[d] * steps_ + round - round);
  }

private:
  const float* from_;
  float largest_ = 0, steps_ = 0;
};

template <class Number>
void append_row(const cached_attention_args& a, std::int64_t r, const float* k, const float* v) {
  const auto& place = a.places[r];
  auto* const block = static_cast<Number*>(place.blocks[place.position / cache_block_tokens]);
  const std::int64_t t = place.position % cache_block_tokens;
  for (std::int64_t h = 0; h < a.kv_heads; ++h) {
    const std::int64_t from = (r * a.kv_heads + h) * a.head_dim;
    const stored_numbers<Number> key(k + from, a.head_dim), value(v + from, a.head_dim);
    Number* const keys = block + keys_at(a, h) + t;
    Number* const values = block + values_at(a, h) + t * a.head_dim;
    for (std::int64_t d = 0; d < a.head_dim; ++d) {
      keys[d * cache_block_tokens] = key[d];
      values[d] = value[d];
    }
    if constexpr (std::is_same_v<Number, std::int8_t>) {
      scales_in(block, key_scales_at(a, h))[t] = key.scale();
      scales_in(block, value_scales_at(a, h))[t] = value.scale();
    }
  }
}

} // namespace

void append_to_cache(const cached_attention_args& a, const float* k, const float* v, thread_team& team) {
  check_cache_arguments(a);
  constexpr std::int64_t rows = 16;
  team.run(a.rows, rows, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t r = first; r < last; ++r)
      if (a.cached_as == storage::float32)
        append_row<float>(a, r, k, v);
      else if (a.cached_as == storage::bfloat16)
        append_row<bfloat16>(a, r, k, v);
      else
        append_row<std::int8_t>(a, r, k, v);
  });
}

} // namespace millrace::kernels
