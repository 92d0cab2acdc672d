#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

namespace millrace::formats {

/// A whole file mapped read-only; unmapped with the object. Views into `bytes()` live as long as it does.
class mapped_file {
public:
  /// @throws input_error when `path` is no regular file or cannot be read
  explicit mapped_file(const std::filesystem::path& path);
  ~mapped_file();
  mapped_file(const mapped_file&) = delete;
  mapped_file& operator=(const mapped_file&) = delete;

  std::span<const std::byte> bytes() const { return {data_, size_}; }

  /// What was read for the last time no longer counts as memory of this process. It can be read again.
  /// @param read a part of `bytes()`
  void let_go(std::span<const std::byte> read) const;

private:
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

} // namespace millrace::formats
