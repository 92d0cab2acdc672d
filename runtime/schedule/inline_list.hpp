#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

namespace millrace::schedule {

/// Numbers in a row whose count is set with all of them: up to `inside` stand in the list itself, next to what else its
/// record holds, more of them on the heap.
template <class Number, std::uint32_t inside>
class inline_list {
public:
  inline_list() = default;

  inline_list(inline_list&& other) noexcept : size_(std::exchange(other.size_, 0)) {
    std::memcpy(bytes_, other.bytes_, sizeof bytes_);
  }

  inline_list& operator=(inline_list&& other) noexcept {
    if (this != &other) {
      clear();
      size_ = std::exchange(other.size_, 0);
      std::memcpy(bytes_, other.bytes_, sizeof bytes_);
    }
    return *this;
  }

  ~inline_list() { clear(); }

  std::uint32_t size() const { return size_; }

  bool empty() const { return size_ == 0; }

  std::span<const Number> all() const { return {data(), size_}; }

  std::span<Number> all() { return {data(), size_}; }

  void clear() {
    if (size_ > inside)
      delete[] data();
    size_ = 0;
  }

  /// Holds `size` numbers from now on, to be written by the caller: what they are before is not said.
  std::span<Number> reset(std::uint32_t size) {
    if (size != size_) {
      clear();
      if (size > inside) {
        auto* const numbers = new Number[(size + 31) / 32 * 32]; // few sizes: what one list gives back fits the next
        std::memcpy(bytes_, &numbers, sizeof numbers);
      }
      size_ = size;
    }
    return all();
  }

private:
  static_assert(std::is_arithmetic_v<Number> && sizeof(Number) * inside >= sizeof(Number*));

  Number* data() { return const_cast<Number*>(std::as_const(*this).data()); }

  const Number* data() const {
    if (size_ <= inside)
      return reinterpret_cast<const Number*>(bytes_);
    const Number* numbers = nullptr;
    std::memcpy(&numbers, bytes_, sizeof numbers);
    return numbers;
  }

  std::uint32_t size_ = 0;
  alignas(Number) std::byte bytes_[sizeof(Number) * inside]; ///< the numbers, or where they are
};

} // namespace millrace::schedule
