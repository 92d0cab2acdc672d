#pragma once

#include "runtime/run_files/growing_file.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::run_files {

/// A file of JSON objects, one a line, each with an integer "step": grows by whole lines.
class step_lines {
public:
  /// Opens to append. Lines of steps after `last_step`, and a torn last line, are cut away: a step that is trained
  /// again after a resume must not be in the file twice. A new run passes 0.
  /// @param parts of the step after `last_step`, lines whose integer "part" is below it are kept  @throws storage_error
  step_lines(std::filesystem::path path, std::int64_t last_step, std::int64_t parts = 0);

  /// @param object one JSON object, without the line's end  @throws storage_error as `growing_file::append`
  void append(std::string_view object);

  /// As `growing_file::write_waiting`.
  void write_waiting() { file_.write_waiting(); }

private:
  growing_file file_;
};

/// Every whole line of such a file, in order, up to the first that is torn or no such object. A missing file has none.
/// @throws input_error when it cannot be read
std::vector<std::string> read_step_lines(const std::filesystem::path& path);

} // namespace millrace::run_files
