#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

namespace millrace::telemetry {

/// A new, empty folder that is removed with everything in it.
class scratch_folder {
public:
  scratch_folder() {
    auto pattern = (std::filesystem::temp_directory_path() / "millrace-telemetry-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }

  ~scratch_folder() { std::filesystem::remove_all(path_); }

  scratch_folder(const scratch_folder&) = delete;
  scratch_folder& operator=(const scratch_folder&) = delete;
  const std::filesystem::path& path() const { return path_; }

private:
  std::filesystem::path path_;
};

} // namespace millrace::telemetry
