#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace millrace {

/// What weights are kept as, in memory, in files and on their way to other roles. A number that is rounded to bfloat16
/// goes to the nearest one, of two equally near the even one.
enum class precision : std::uint8_t { float32, bfloat16 };

constexpr auto words_for(precision) {
  return std::to_array<std::string_view>({"float32", "bfloat16"});
}

/// What the matrices of a model, and keys and values, are kept as where it samples. int8: whole steps from -127 to 127
/// of a scale. 32 numbers of a matrix's row have one of 16 bits; a token's keys (or values) of a head have one of 32.
enum class sampling_precision : std::uint8_t { float32, bfloat16, int8 };

constexpr auto words_for(sampling_precision) {
  return std::to_array<std::string_view>({"float32", "bfloat16", "int8"});
}

constexpr sampling_precision sampled_as(precision kept) {
  return kept == precision::float32 ? sampling_precision::float32 : sampling_precision::bfloat16;
}

constexpr std::int64_t bytes_a_number(precision kept) {
  return kept == precision::float32 ? 4 : 2;
}

} // namespace millrace
