#pragma once

#include "runtime/data/source.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>

namespace millrace::data {

/// The rows of a file that can be used, by number. Each of the others is told once. Not thread-safe.
class usable_rows {
public:
  /// @param name of the file, in messages
  /// @throws input_error if the file has not the columns that are asked for
  usable_rows(std::string name, std::unique_ptr<row_file> rows, file_options options, on_skip skip);

  std::uint64_t count() const { return count_; } ///< usable or not; at least 1

  const std::string& name() const { return name_; }

  const file_options& options() const { return options_; }

  /// @param which in [0, count())
  /// @returns nothing for a row that cannot be used
  /// @throws input_error if the file cannot be read any more
  std::optional<row> read(std::uint64_t which, const row_file::upcoming& after);

  std::uint64_t skipped() const { return bad_.size(); }

  /// @throws input_error if it is known of every row that it cannot be used
  void want_one() const;

private:
  void check_columns(const std::vector<std::string>& columns) const;

  std::string name_;
  file_options options_;
  on_skip skip_;
  std::unique_ptr<row_file> file_;
  std::uint64_t count_;
  std::set<std::uint64_t> bad_; ///< rows that could not be used
  std::string first_bad_;       ///< `file:line: reason` of the first of them in the file
};

/// The rows as `options` of them say: shuffled or in the file's order, for so many epochs.
std::unique_ptr<source> in_epochs(usable_rows rows);

} // namespace millrace::data
