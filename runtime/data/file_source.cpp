#include "runtime/data/parse_row.hpp"
#include "runtime/data/shuffle.hpp"
#include "runtime/data/source.hpp"
#include "runtime/data/system_turn.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <fstream>
#include <limits>
#include <set>

namespace millrace::data {
namespace {

constexpr std::uint64_t most_bytes = 16 << 20;

/// Where a line that is not blank stands.
struct line_place {
  std::uint64_t offset; ///< bytes
  std::uint64_t size;   ///< bytes, without the newline
  std::uint64_t number; ///< from 1
};

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r';
}

/// One pass over the file in blocks: memory grows with the number of lines, not with their length.
std::vector<line_place> lines_of(std::ifstream& in) {
  std::vector<line_place> lines;
  std::vector<char> block(1 << 16);
  line_place line{0, 0, 1};
  bool blank = true;
  std::uint64_t at = 0;
  const auto close = [&](std::uint64_t end) {
    line.size = end - line.offset;
    if (!blank)
      lines.push_back(line);
    line = {end + 1, 0, line.number + 1};
    blank = true;
  };
  while (in.read(block.data(), static_cast<std::streamsize>(block.size())), in.gcount() > 0) {
    for (std::streamsize i = 0; i < in.gcount(); ++i, ++at)
      if (const char c = block[static_cast<std::size_t>(i)]; c == '\n')
        close(at);
      else
        blank = blank && is_blank(c);
  }
  close(at);
  return lines;
}

class file_source final : public source {
public:
  file_source(const std::filesystem::path& file, file_options options, on_skip skip)
      : name_(file.string()), options_(std::move(options)), skip_(std::move(skip)), in_(file, std::ios::binary) {
    if (!in_ || std::filesystem::is_directory(file))
      throw input_error(name_ + ": cannot be opened, want a JSONL file");
    lines_ = lines_of(in_);
    if (in_.bad())
      throw input_error(name_ + ": cannot be read");
    if (lines_.empty())
      throw input_error(name_ + ": found no row, want JSONL: one row a line");
    begin_epoch(0);
  }

  std::optional<row> next() override {
    for (;;) {
      if (next_ == lines_.size()) {
        if (bad_.size() == lines_.size())
          throw input_error(name_ + ": none of its " + std::to_string(lines_.size())
                            + " rows can be used, the first: " + first_bad_);
        if (options_.epochs != 0 && epoch_ + 1 >= options_.epochs)
          return std::nullopt;
        begin_epoch(epoch_ + 1);
      }
      const std::uint64_t index = epoch_ * lines_.size() + next_;
      const std::uint64_t which = order_.empty() ? next_ : order_[next_];
      ++next_;
      if (auto r = read(which)) {
        r->index = index;
        return r;
      }
    }
  }

  position save() const override { return {epoch_, next_, lines_.size()}; }

  void restore(const position& at) override {
    if (at.rows != 0 && (at.rows != lines_.size() || at.next > lines_.size()))
      throw input_error(name_ + ": found " + std::to_string(lines_.size()) + " rows, want the "
                        + std::to_string(at.rows) + " of the saved position");
    begin_epoch(at.epoch);
    next_ = std::min<std::uint64_t>(at.next, lines_.size());
  }

  std::uint64_t skipped() const override { return bad_.size(); }

private:
  void begin_epoch(std::uint64_t epoch) {
    epoch_ = epoch;
    next_ = 0;
    if (options_.shuffle)
      order_ = shuffled(lines_.size(), options_.seed, epoch);
  }

  /// A seek reads a block anew: a file in its own order goes on where it is.
  void go_to(std::uint64_t offset) {
    if (in_ && offset >= at_ && offset - at_ < 64) {
      in_.ignore(static_cast<std::streamsize>(offset - at_));
    } else {
      in_.clear();
      in_.seekg(static_cast<std::streamoff>(offset));
    }
    at_ = offset;
  }

  std::optional<row> read(std::uint64_t which) {
    const line_place& line = lines_[which];
    const std::string where = name_ + ':' + std::to_string(line.number);
    try {
      if (line.size > most_bytes)
        throw input_error("found " + std::to_string(line.size) + " bytes, want at most 16 MiB a row");
      text_.resize(line.size);
      go_to(line.offset);
      in_.read(text_.data(), static_cast<std::streamsize>(line.size));
      at_ += line.size;
      if (in_.gcount() != static_cast<std::streamsize>(line.size))
        throw input_error("the file has become shorter");
      std::string_view text = text_;
      if (line.offset == 0 && text.starts_with("\xef\xbb\xbf"))
        text.remove_prefix(3);
      row r = parse_row(text);
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
  std::ifstream in_;
  std::vector<line_place> lines_;
  std::vector<std::uint64_t> order_; ///< empty: the file's order
  std::set<std::uint64_t> bad_;      ///< rows that could not be used
  std::string first_bad_;            ///< `file:line: reason` of the first of them in the file
  std::uint64_t epoch_ = 0, next_ = 0;
  std::uint64_t at_ = std::numeric_limits<std::uint64_t>::max(); ///< where in the file the stream is
  std::string text_;
};

} // namespace

std::unique_ptr<source> open_file(const std::filesystem::path& file, file_options options, on_skip skip) {
  return std::make_unique<file_source>(file, std::move(options), std::move(skip));
}

} // namespace millrace::data
