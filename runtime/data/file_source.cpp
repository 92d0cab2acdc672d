#include "runtime/data/shuffle.hpp"
#include "runtime/data/source.hpp"
#include "runtime/data/usable_rows.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <numeric>

namespace millrace::data {
namespace {

constexpr std::uint64_t most_upcoming = 255; ///< rows that a file may read ahead

class file_source final : public source {
public:
  explicit file_source(usable_rows rows) : file_(std::move(rows)), rows_(file_.count()) { begin_epoch(0); }

  std::optional<row> next() override {
    for (;;) {
      if (next_ == rows_) {
        file_.want_one();
        if (file_.options().epochs != 0 && epoch_ + 1 >= file_.options().epochs)
          return std::nullopt;
        begin_epoch(epoch_ + 1);
      }
      const std::uint64_t index = epoch_ * rows_ + next_;
      const std::uint64_t which = order_.empty() ? next_ : order_[next_];
      ++next_;
      if (auto r = file_.read(which, [this] { return upcoming(); })) {
        r->index = index;
        return r;
      }
    }
  }

  position save() const override { return {epoch_, next_, rows_}; }

  void restore(const position& at) override {
    if (at.rows != 0 && (at.rows != rows_ || at.next > rows_))
      throw input_error(file_.name() + ": found " + std::to_string(rows_) + " rows, want the " + std::to_string(at.rows)
                        + " of the saved position");
    begin_epoch(at.epoch);
    next_ = std::min<std::uint64_t>(at.next, rows_);
  }

  std::uint64_t skipped() const override { return file_.skipped(); }

private:
  void begin_epoch(std::uint64_t epoch) {
    epoch_ = epoch;
    next_ = 0;
    if (file_.options().shuffle)
      order_ = shuffled(rows_, file_.options().seed, epoch);
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

  usable_rows file_;
  std::uint64_t rows_;
  std::vector<std::uint64_t> order_; ///< empty: the file's order
  std::uint64_t epoch_ = 0, next_ = 0;
};

} // namespace

std::unique_ptr<source> in_epochs(usable_rows rows) {
  return std::make_unique<file_source>(std::move(rows));
}

std::unique_ptr<source> open_file(const std::filesystem::path& file, file_options options, on_skip skip) {
  auto rows = open_rows(file, options.python);
  return in_epochs({file.string(), std::move(rows), std::move(options), std::move(skip)});
}

} // namespace millrace::data
