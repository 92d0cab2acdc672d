#pragma once

#include "runtime/data/row.hpp"
#include "runtime/data/row_file.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace millrace::data {

/// Where a source stands: enough to go on from there in another process.
struct position {
  std::uint64_t epoch = 0; ///< times through all rows
  std::uint64_t next = 0;  ///< rows of this epoch already passed, skipped ones too
  std::uint64_t rows = 0;  ///< rows of one epoch (0 = endless, or any number): guards against another file

  bool operator==(const position&) const = default;
};

/// Rows in a fixed order. Not thread-safe.
class source {
public:
  virtual ~source() = default;

  /// The next row, or nothing after the last epoch.
  /// @throws input_error if the file cannot be read any more, or a whole epoch has no usable row
  virtual std::optional<row> next() = 0;
  virtual position save() const = 0;
  /// Goes to a place that `save` gave. @throws input_error if it is of other data
  virtual void restore(const position& at) = 0;
  /// Rows passed over because they could not be used; each counts once, however many epochs see it.
  virtual std::uint64_t skipped() const = 0;
};

/// Told once about each row that cannot be used: `file:line: reason`.
using on_skip = std::function<void(const std::string& line)>;

/// What a data set calls columns of a row: our name -> its name. "a.b" is b of the object a, unless a column is called
/// so.
using column_names = std::map<std::string, std::string>;

/// How a file is read.
struct file_options {
  bool shuffle = true; ///< a new order each epoch, a pure function of (seed, epoch)
  std::uint64_t seed = 1;
  std::uint64_t epochs = 0;    ///< 0 = endless
  std::string system;          ///< system message before prompts that have none; empty = none
  column_names columns = {};   ///< those of other names; a row that lacks one cannot be used
  python_settings python = {}; ///< of Parquet files
  /// Why a row that can be read cannot be used, in one line; "" = it can. Such a row is skipped like a broken one.
  std::function<std::string(const row&)> unusable = {};
};

/// Opens the rows of a file, a folder or a pattern (`open_rows`); rows are read when their turn comes.
///
/// A row is verl's: `prompt` (messages, or text = one user message), the answer in `reward_model.ground_truth`,
/// `answer`, `solution` or `ground_truth` (text or number; the first that is there), `data_source`, `extra_info`.
///
/// Demonstrations come in TRL's forms, text or messages: {"messages"}, whose prompt ends before the assistant's first
/// turn; {"prompt", "completion"}; {"prompt", "chosen", "rejected"} with an optional "margin". Without "prompt", chosen
/// and rejected are whole conversations, and what they share before the assistant's last turn is the prompt. A verl
/// row's is `extra_info.answer` where that is text.
///
/// A row that is not UTF-8, not JSON, longer than 16 MiB, nested deeper than 64, without a prompt, or with neither
/// answer nor demonstration is skipped, counted and named.
/// @throws input_error if the file cannot be opened or has no row at all
std::unique_ptr<source> open_file(const std::filesystem::path& file, file_options options, on_skip skip);

/// What `make_arithmetic` asks.
struct arithmetic_options {
  std::string operation = "add"; ///< "add", "subtract" or "multiply"
  std::int64_t min = 10;         ///< smallest number
  std::int64_t max = 99;         ///< largest number, >= min
  std::uint64_t seed = 1;
  std::string suffix = "Reply with the number only.";
  std::string system; ///< system message; empty = none
};

/// Endless questions such as "What is 47 plus 12? Reply with the number only.": row i is a pure function of (options,
/// i).
/// @throws std::invalid_argument for another operation, or min > max
std::unique_ptr<source> make_arithmetic(arithmetic_options options);

} // namespace millrace::data
