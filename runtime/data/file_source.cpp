#include "runtime/data/parse_row.hpp"
#include "runtime/data/row_file.hpp"
#include "runtime/data/shuffle.hpp"
#include "runtime/data/source.hpp"
#include "runtime/data/system_turn.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <set>

namespace millrace::data {
namespace {

constexpr std::uint64_t most_upcoming = 255; ///< rows that a file may read ahead

class file_source final : public source {
public:
  file_source(std::string name, std::unique_ptr<row_file> rows, file_options options, on_skip skip)
      : name_(std::move(name)), options_(std::move(options)), skip_(std::move(skip)), file_(std::move(rows)),
        rows_(file_->rows()) {
    check_columns(file_->columns());
    begin_epoch(0);
  }

  std::optional<row> next() override {
    for (;;) {
      if (next_ == rows_) {
        if (bad_.size() == rows_)
          throw input_error(name_ + ": none of its " + std::to_string(rows_)
                            + " rows can be used, the first: " + first_bad_);
        if (options_.epochs != 0 && epoch_ + 1 >= options_.epochs)
          return std::nullopt;
        begin_epoch(epoch_ + 1);
      }
      const std::uint64_t index = epoch_ * rows_ + next_;
      const std::uint64_t which = order_.empty() ? next_ : order_[next_];
      ++next_;
      if (auto r = read(which)) {
        r->index = index;
        return r;
      }
    }
  }

  position save() const override { return {epoch_, next_, rows_}; }

  void restore(const position& at) override {
    if (at.rows != 0 && (at.rows != rows_ || at.next > rows_))
      throw input_error(name_ + ": found " + std::to_string(rows_) + " rows, want the " + std::to_string(at.rows)
                        + " of the saved position");
    begin_epoch(at.epoch);
    next_ = std::min<std::uint64_t>(at.next, rows_);
  }

  std::uint64_t skipped() const override { return bad_.size(); }

private:
  /// One line in place of one a row.
  void check_columns(const std::vector<std::string>& columns) const {
    if (columns.empty())
      return;
    const auto has = [&](const std::string& name) {
      return std::find(columns.begin(), columns.end(), name) != columns.end();
    };
    std::string found;
    for (const auto& name : columns)
      found += (found.empty() ? "" : ", ") + name;
    found = formats::printable(name_ + ": found columns " + found, 4096);
    for (const auto& [ours, theirs] : options_.columns)
      if (!has(theirs) && !has(theirs.substr(0, theirs.find('.'))))
        throw input_error(found + ", want " + formats::in_quotes(theirs) + " as the column of " + ours);
    constexpr std::array prompts{"prompt", "messages", "chosen"};
    constexpr std::array openrlhf{"input", "context_messages"};
    const auto named = [&](const char* name) { return has(name) || options_.columns.contains(name); };
    if (std::none_of(prompts.begin(), prompts.end(), named) && std::none_of(openrlhf.begin(), openrlhf.end(), has))
      throw input_error(found + ", want one named prompt, messages or chosen (docs/rows.md)");
  }

  void begin_epoch(std::uint64_t epoch) {
    epoch_ = epoch;
    next_ = 0;
    if (options_.shuffle)
      order_ = shuffled(rows_, options_.seed, epoch);
  }

  /// The rows after the one that `next` takes.
  std::vector<std::uint64_t> upcoming() const {
    const std::uint64_t end = std::min(rows_, next_ + most_upcoming);
    if (!order_.empty())
      return {order_.begin() + static_cast<std::ptrdiff_t>(next_), order_.begin() + static_cast<std::ptrdiff_t>(end)};
    std::vector<std::uint64_t> rows(end - next_);
    std::iota(rows.begin(), rows.end(), next_);
    return rows;
  }

  std::optional<row> read(std::uint64_t which) {
    const auto text = file_->read(which, [this] { return upcoming(); });
    const std::string where = file_->where(which);
    try {
      if (!text.why.empty())
        throw input_error(text.why);
      row r = parse_row(text.text, options_.columns);
      if (const auto why = options_.unusable ? options_.unusable(r) : std::string(); !why.empty())
        throw input_error(why);
      r.where = where;
      add_system(r.prompt, options_.system);
      return r;
    } catch (const input_error& error) {
      const std::string reason = formats::printable(where + ": " + error.what(), 4096);
      if (first_bad_.empty() || which < *bad_.begin())
        first_bad_ = reason;
      if (bad_.insert(which).second && skip_)
        skip_(reason);
      return std::nullopt;
    }
  }

  std::string name_;
  file_options options_;
  on_skip skip_;
  std::unique_ptr<row_file> file_;
  std::uint64_t rows_;
  std::vector<std::uint64_t> order_; ///< empty: the file's order
  std::set<std::uint64_t> bad_;      ///< rows that could not be used
  std::string first_bad_;            ///< `file:line: reason` of the first of them in the file
  std::uint64_t epoch_ = 0, next_ = 0;
};

} // namespace

std::unique_ptr<source> open_file(const std::filesystem::path& file, file_options options, on_skip skip) {
  auto rows = open_rows(file, options.python);
  return open_rows_of(file.string(), std::move(rows), std::move(options), std::move(skip));
}

std::unique_ptr<source> open_rows_of(std::string name, std::unique_ptr<row_file> rows, file_options options,
                                     on_skip skip) {
  return std::make_unique<file_source>(std::move(name), std::move(rows), std::move(options), std::move(skip));
}

} // namespace millrace::data
