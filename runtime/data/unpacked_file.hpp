#pragma once

#include <filesystem>

namespace millrace::data {

/// What a `.zst` or `.gz` file holds, as a file in the folder for temporary files. The name goes with this object;
/// whoever has opened it by then reads on.
class unpacked_file {
public:
  /// @throws input_error for a file that cannot be opened, is damaged or cut short, or has no room when unpacked
  explicit unpacked_file(const std::filesystem::path& packed);
  ~unpacked_file();

  unpacked_file(const unpacked_file&) = delete;
  unpacked_file& operator=(const unpacked_file&) = delete;

  const std::filesystem::path& path() const { return path_; }

private:
  std::filesystem::path path_;
};

} // namespace millrace::data
