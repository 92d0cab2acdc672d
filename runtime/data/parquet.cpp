#include "runtime/data/python_process.hpp"
#include "runtime/data/row_file.hpp"
#include "runtime/data/row_reader.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/formats/strict_json.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <map>
#include <optional>
#include <sstream>

namespace millrace::data {
namespace {

constexpr std::size_t most_asked = 256; ///< rows of one request
constexpr std::size_t most_frame = 17 << 20;
constexpr int most_losses = 8;

class parquet_file final : public row_file {
public:
  parquet_file(const std::filesystem::path& file, python_settings python)
      : name_(file.string()), python_(std::move(python)) {
    try {
      start();
    } catch (const process_lost& lost) {
      throw input_error(name_ + ": the process that reads Parquet files was lost: " + lost.what());
    }
    if (rows_ == 0)
      throw input_error(name_ + ": found no row, want at least one");
  }

  std::uint64_t rows() const override { return rows_; }

  std::vector<std::string> columns() const override { return columns_; }

  row_text read(std::uint64_t which, const upcoming& after) override {
    const auto known = ready_.find(which);
    current_ = known != ready_.end() ? std::move(known->second) : asked_again(which, after);
    if (known != ready_.end())
      ready_.erase(known);
    return {current_.text, current_.why};
  }

  std::string where(std::uint64_t which) const override { return name_ + ":row " + std::to_string(which + 1); }

private:
  struct kept_row {
    std::string text, why;
  };

  struct frame {
    std::string kind;
    std::uint64_t number = 0;
    std::string content;
  };

  void start() {
    process_.reset();
    try {
      process_ = std::make_unique<python_process>(python_.program, row_reader_script, std::vector<std::string>{name_},
                                                  python_.patience);
    } catch (const input_error& error) {
      throw input_error(name_ + ": " + error.what() + ", want a Python with pyarrow to read a Parquet file");
    }
    const frame opened = next_frame();
    if (opened.kind != "open")
      throw input_error(name_ + ": " + formats::printable(opened.content));
    if (rows_ != 0 && opened.number != rows_)
      throw input_error(name_ + ": found " + std::to_string(opened.number) + " rows, want the " + std::to_string(rows_)
                        + " of before");
    rows_ = opened.number;
    columns_.clear();
    for (const auto& name : formats::parse_json(opened.content, name_))
      columns_.push_back(name.get<std::string>());
  }

  frame next_frame() {
    frame found;
    const std::string line = process_->line();
    std::istringstream words(line);
    std::size_t size = 0;
    if (!(words >> found.kind >> found.number >> size) || size > most_frame)
      throw process_lost("it sent " + formats::in_quotes(line.substr(0, 64)) + ", which is no frame");
    found.content = process_->bytes(size);
    return found;
  }

  /// Asks for `which` and, the first time, for what comes after it too.
  kept_row asked_again(std::uint64_t which, const upcoming& after) {
    std::string why;
    for (const bool first : {true, false}) {
      try {
        if (!process_)
          start();
        return asked(which, first ? after() : std::vector<std::uint64_t>());
      } catch (const process_lost& lost) {
        process_.reset();
        why = std::string("the process that reads Parquet files was lost: ") + lost.what();
        if (++losses_ == most_losses)
          throw input_error(where(which) + ": " + why + ", for the " + std::to_string(losses_) + "th time");
      }
    }
    return {"", why};
  }

  kept_row asked(std::uint64_t which, const std::vector<std::uint64_t>& after) {
    std::string request = std::to_string(which);
    for (std::size_t i = 0; i < after.size() && i + 1 < most_asked; ++i)
      request += ' ' + std::to_string(after[i]);
    process_->send(request + '\n');
    ready_.clear();
    std::optional<kept_row> wanted;
    for (frame found = next_frame(); found.kind != "done"; found = next_frame()) {
      kept_row row = found.kind == "row" ? kept_row{std::move(found.content), ""} : kept_row{"", found.content};
      if (found.number == which)
        wanted = std::move(row);
      else
        ready_[found.number] = std::move(row);
    }
    if (!wanted)
      throw process_lost("it did not answer");
    return *std::move(wanted);
  }

  std::string name_;
  python_settings python_;
  std::unique_ptr<python_process> process_;
  std::uint64_t rows_ = 0;
  std::vector<std::string> columns_;
  std::map<std::uint64_t, kept_row> ready_; ///< read ahead
  kept_row current_;
  int losses_ = 0;
};

} // namespace

std::unique_ptr<row_file> open_parquet(const std::filesystem::path& file, python_settings python) {
  return std::make_unique<parquet_file>(file, std::move(python));
}

} // namespace millrace::data
