#include "runtime/data/row_file.hpp"
#include "runtime/words/input_error.hpp"

#include <fstream>
#include <limits>

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

class jsonl_file final : public row_file {
public:
  jsonl_file(const std::filesystem::path& contents, const std::string& name)
      : name_(name), in_(contents, std::ios::binary) {
    std::error_code ignored; // a name that no file can have does not open either
    if (!in_ || std::filesystem::is_directory(contents, ignored))
      throw input_error(name_ + ": cannot be opened, want a JSONL file");
    lines_ = lines_of(in_);
    if (in_.bad())
      throw input_error(name_ + ": cannot be read");
    if (lines_.empty())
      throw input_error(name_ + ": found no row, want JSONL: one row a line");
  }

  std::uint64_t rows() const override { return lines_.size(); }

  row_text read(std::uint64_t which, const upcoming&) override {
    const line_place& line = lines_[which];
    if (line.size > most_bytes)
      return {"", "found " + std::to_string(line.size) + " bytes, want at most 16 MiB a row"};
    text_.resize(line.size);
    go_to(line.offset);
    in_.read(text_.data(), static_cast<std::streamsize>(line.size));
    at_ += line.size;
    if (in_.gcount() != static_cast<std::streamsize>(line.size))
      return {"", "the file has become shorter"};
    std::string_view text = text_;
    if (line.offset == 0 && text.starts_with("\xef\xbb\xbf"))
      text.remove_prefix(3);
    return {text, ""};
  }

  std::string where(std::uint64_t which) const override { return name_ + ':' + std::to_string(lines_[which].number); }

private:
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

  std::string name_;
  std::ifstream in_;
  std::vector<line_place> lines_;
  std::uint64_t at_ = std::numeric_limits<std::uint64_t>::max(); ///< where in the file the stream is
  std::string text_;
};

} // namespace

std::unique_ptr<row_file> open_jsonl(const std::filesystem::path& contents, const std::string& name) {
  return std::make_unique<jsonl_file>(contents, name);
}

} // namespace millrace::data
