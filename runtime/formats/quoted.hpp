#pragma once

#include <string>
#include <string_view>

namespace millrace::formats {

/// Text out of a file as it may stand in an error line: in single quotes, control characters and what is not UTF-8 as
/// \xNN, cut after `most` bytes.
std::string in_quotes(std::string_view text, std::size_t most = 80);

/// The same without quotes, for sentences.
std::string printable(std::string_view text, std::size_t most = 200);

} // namespace millrace::formats
