#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace {

/// Element types that travel. The numbers go over the wire.
enum class dtype : std::uint8_t { u8 = 0, i32 = 1, u32 = 2, i64 = 3, f32 = 4, f64 = 5, bf16 = 6, f16 = 7 };

/// Bytes of one element; 0 for a number that is no dtype.
std::size_t bytes_of(dtype type);

std::string_view name_of(dtype type);

/// Whether `T` is how C++ sees `type`. bf16 and f16 are seen as their 16 bits, std::uint16_t.
template <class T>
constexpr bool is_element_of(dtype type);

/// The dtype that a builder gives to `T` (std::uint16_t: bf16).
template <class T>
constexpr dtype dtype_of();

/// One named tensor, row-major, without gaps. A scalar has the empty shape and one element.
struct tensor_spec {
  std::string name;
  dtype type = dtype::u8;
  std::vector<std::int64_t> shape;

  bool operator==(const tensor_spec&) const = default;
};

/// Bytes of the tensor. @throws std::invalid_argument naming the column for an unknown dtype, a negative extent or a
/// size that does not fit 63 bits.
std::size_t bytes_of(const tensor_spec& spec);

/// "tokens: i32 [17]", for messages.
std::string to_string(const tensor_spec& spec);

// ---------------------------------------------------------------------------------------------------------------------

template <class T>
constexpr bool is_element_of(dtype type) {
  if constexpr (std::is_same_v<T, std::uint8_t> || std::is_same_v<T, std::byte> || std::is_same_v<T, char>)
    return type == dtype::u8;
  else if constexpr (std::is_same_v<T, std::uint16_t>)
    return type == dtype::bf16 || type == dtype::f16;
  else
    return type == dtype_of<T>();
}

template <class T>
constexpr dtype dtype_of() {
  if constexpr (std::is_same_v<T, std::uint8_t> || std::is_same_v<T, std::byte> || std::is_same_v<T, char>)
    return dtype::u8;
  else if constexpr (std::is_same_v<T, std::int32_t>)
    return dtype::i32;
  else if constexpr (std::is_same_v<T, std::uint32_t>)
    return dtype::u32;
  else if constexpr (std::is_same_v<T, std::int64_t>)
    return dtype::i64;
  else if constexpr (std::is_same_v<T, float>)
    return dtype::f32;
  else if constexpr (std::is_same_v<T, double>)
    return dtype::f64;
  else {
    static_assert(std::is_same_v<T, std::uint16_t>, "no dtype for this type");
    return dtype::bf16;
  }
}

} // namespace millrace
