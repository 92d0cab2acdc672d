#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace millrace::formats {

/// A file being written. Unless `finish` was called it is removed with the object.
class new_file {
public:
  /// @throws input_error when it cannot be created; an existing file of that name is refused
  explicit new_file(std::filesystem::path path);
  ~new_file();
  new_file(const new_file&) = delete;
  new_file& operator=(const new_file&) = delete;

  /// @throws input_error naming the path and the system's reason (a full disk, a quota, ...)
  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);

  /// Syncs to the disk and closes.
  void finish();

private:
  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// A file of a known size that is written at any places, by several writers at once. Move-only.
class placed_file {
public:
  /// Makes a file of so many bytes, with room for them on the disk where the file system can say so; replaces one that
  /// is there. @throws input_error naming the path and the system's reason
  static placed_file made(const std::filesystem::path& path, std::int64_t bytes);

  /// Opens one that another writer has made. @throws input_error, also if it is of another size
  static placed_file opened(const std::filesystem::path& path, std::int64_t bytes);

  placed_file(placed_file&& other) noexcept;
  placed_file& operator=(placed_file&&) = delete;
  ~placed_file();

  /// @throws input_error
  void write(std::int64_t at, std::span<const std::byte> bytes);

  /// Syncs to the disk and closes. @throws input_error
  void finish();

private:
  placed_file(std::filesystem::path path, int flags);
  std::filesystem::path path_;
  int descriptor_ = -1;
};

/// Writes `text` to a file that is not there yet, down to the disk. @throws input_error, and leaves no file
void write_new_file(const std::filesystem::path& path, std::string_view text);

/// A folder that appears under its name whole or not at all: everything is written into a hidden sibling, which
/// `finish` syncs and renames. Without `finish` the sibling is removed with the object.
class new_folder {
public:
  /// @param path missing or an empty folder; missing parents are made
  /// @throws input_error when `path` is a file, a folder that holds something, or cannot be made
  explicit new_folder(std::filesystem::path path);
  ~new_folder();
  new_folder(const new_folder&) = delete;
  new_folder& operator=(const new_folder&) = delete;

  /// Where to write for now.
  const std::filesystem::path& folder() const { return temporary_; }

  void finish();

private:
  std::filesystem::path path_, temporary_;
};

/// Makes a rename or a new name in `folder` survive a power cut.
void sync_folder(const std::filesystem::path& folder);

} // namespace millrace::formats
