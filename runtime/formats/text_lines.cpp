#include "runtime/formats/text_lines.hpp"

#include "runtime/words/input_error.hpp"

namespace millrace::formats {

text_lines::text_lines(const std::filesystem::path& path, const std::string& want)
    : path_(path.string()), in_(path, std::ios::binary), block_(1 << 16) {
  std::error_code ignored; // a name that no file can have does not open either
  if (!in_ || std::filesystem::is_directory(path, ignored))
    throw input_error(path_ + ": cannot be opened, want " + want);
}

bool text_lines::fill() {
  in_.read(block_.data(), static_cast<std::streamsize>(block_.size()));
  if (in_.bad())
    throw input_error(path_ + ": cannot be read");
  rest_ = {block_.data(), static_cast<std::size_t>(in_.gcount())};
  return !rest_.empty();
}

/// Goes behind the line that was refused.
void text_lines::leave_line() {
  while (!rest_.empty() || fill()) {
    const auto end = rest_.find('\n');
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + 1);
    if (end != std::string_view::npos)
      break;
  }
  inside_ = false;
}

bool text_lines::next(std::string& line) {
  line.clear();
  if (inside_)
    leave_line();
  if (rest_.empty() && !fill())
    return false;
  ++number_;
  for (;;) {
    const auto end = rest_.find('\n');
    line += rest_.substr(0, end);
    if (line.size() > most_bytes) {
      inside_ = true;
      throw input_error(where() + ": found a line of more than " + std::to_string(most_bytes >> 20)
                        + " MiB, want shorter ones");
    }
    torn_ = end == std::string_view::npos;
    rest_.remove_prefix(torn_ ? rest_.size() : end + 1);
    if (!torn_ || !fill())
      return true;
  }
}

bool is_blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

} // namespace millrace::formats
