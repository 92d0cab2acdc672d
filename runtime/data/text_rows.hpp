#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace millrace::data {

/// The texts of a JSONL file with a "text" a row, all in memory: what a loss on plain text is taken of. Which rows a
/// step uses is a function of the step alone, so a resumed run goes on with the rows it would have had.
class text_rows {
public:
  /// @throws input_error naming file and line: no file, a row without text, no row at all
  explicit text_rows(const std::filesystem::path& file);

  std::size_t size() const { return texts_.size(); }

  /// The rows of a step: `count` in the file's order, going on where the step before ended, from the end to the start.
  /// @param step from 0
  std::vector<std::string> of_step(std::uint64_t step, std::size_t count) const;

private:
  std::vector<std::string> texts_;
};

} // namespace millrace::data
