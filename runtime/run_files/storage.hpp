#pragma once

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>

namespace millrace::run_files {

/// The disk refused: full, read-only, over a limit. `what()` is the one line a person reads: what, where, why.
class storage_error : public std::runtime_error {
public:
  using std::runtime_error::runtime_error;
};

/// Writes all of `bytes` to the open file `descriptor`. `path` is only named in the error.
/// @throws storage_error
void write_all(int descriptor, std::string_view bytes, const std::filesystem::path& path);

/// Flushes a file or a folder down to the device. @throws storage_error
void flush_to_disk(const std::filesystem::path& path);

/// Replaces `path` by a file with these bytes: a reader sees the old file or the new one, never a part. The content
/// survives SIGKILL of this process; it is not forced to the device. @throws storage_error
void replace_file(const std::filesystem::path& path, std::string_view bytes);

/// "1.6 GB", "312 KB": powers of ten, two digits or three.
std::string in_bytes(std::uintmax_t bytes);

/// An open file that closes itself. Move-only.
class descriptor {
public:
  descriptor() = default;

  explicit descriptor(int number) : number_{number} {}

  descriptor(descriptor&& other) noexcept;
  descriptor& operator=(descriptor&& other) noexcept;
  ~descriptor();

  int get() const { return number_; }

private:
  int number_ = -1;
};

/// Appends all of `bytes`, or nothing: a part that a full disk took is cut off again. @throws storage_error
void append_whole(const descriptor& file, std::string_view bytes, const std::filesystem::path& path);

/// Opens for appending, makes the file if it is not there. @throws storage_error
descriptor open_to_append(const std::filesystem::path& path);

/// Cuts `path` to its first `bytes` bytes. @throws storage_error
void truncate_file(const std::filesystem::path& path, std::uintmax_t bytes);

/// The whole file. @throws storage_error if it is not there or cannot be read
std::string read_file(const std::filesystem::path& path);

} // namespace millrace::run_files
