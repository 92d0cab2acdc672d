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

/// What written bytes survive: the end of this process, or a power cut as well. The second waits for the device.
enum class survives : std::uint8_t { process_end, power_cut };

/// Replaces `path` by a file with these bytes: a reader sees the old file or the new one, never a part.
/// @throws storage_error
void replace_file(const std::filesystem::path& path, std::string_view bytes, survives what = survives::process_end);

/// Moves the folder `from` to `to`. A folder that is already at `to` ends up at `from`, so `to` is there at any moment,
/// where the file system can exchange two names; elsewhere it is removed first. @throws storage_error
void swap_folder(const std::filesystem::path& from, const std::filesystem::path& to);

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

/// The whole file. @throws storage_error if it is not there, cannot be read or has more than `most_bytes`
std::string read_file(const std::filesystem::path& path, std::size_t most_bytes = 256 << 20);

} // namespace millrace::run_files
