#pragma once

#include <string>
#include <string_view>

namespace millrace::formats {

/// Text out of a file as it may stand in an error line: in single quotes, control characters and what is not UTF-8 as
/// \xNN, cut after `most` bytes.
std::string in_quotes(std::string_view text, std::size_t most = 80);

/// The same without quotes, for sentences.
std::string printable(std::string_view text, std::size_t most = 200);

/// Lines for people: `printable` of each, newlines kept. Every line that this program writes for people passes it
/// (errors, the log), so that no byte of a file or a peer can steer their terminal.
std::string printable_lines(std::string_view text, std::size_t most_a_line = 4096);

} // namespace millrace::formats
