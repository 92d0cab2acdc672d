#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::formats {

/// The lines of a file, one after another, without their newlines. It holds no more of the file than one line, and a
/// line has an end: a file of any size, or a device, does not fill the memory.
class text_lines {
public:
  static constexpr std::size_t most_bytes = 16 << 20; ///< of one line

  /// @param want what the file should be, for errors: "a JSONL file"
  /// @throws input_error "PATH: cannot be opened, want WANT"
  text_lines(const std::filesystem::path& path, const std::string& want);

  /// Whether there was one more line; then `line` is it. @throws input_error for a line of more than `most_bytes`; the
  /// next call goes on behind it
  bool next(std::string& line);

  /// Of the line that was read last, from 1.
  std::int64_t number() const { return number_; }

  /// "PATH:NUMBER" of that line.
  std::string where() const { return path_ + ':' + std::to_string(number_); }

  /// Whether that line was the file's last and has no newline: a program that died may have torn it.
  bool torn() const { return torn_; }

private:
  bool fill();
  void leave_line();

  std::string path_;
  std::ifstream in_;
  std::vector<char> block_;
  std::string_view rest_; ///< of the block
  std::int64_t number_ = 0;
  bool torn_ = false;
  bool inside_ = false; ///< of a line that was refused
};

/// A line with nothing but blanks in it.
bool is_blank(std::string_view line);

} // namespace millrace::formats
