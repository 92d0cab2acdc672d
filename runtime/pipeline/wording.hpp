#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::pipeline {

// How messages and files write things.

/// One line: control characters as `\n`, `\t`, `\u001B`.
std::string printable(std::string_view text);
/// A TOML basic string with its quotes.
std::string in_quotes(std::string_view text);
/// Text made safe inside XML and HTML, quoted attributes included.
std::string escaped(std::string_view text);
/// `decimal` as a TOML float: with a point or an exponent.
std::string real_number(double x);
/// `a`, `b` and so on with `, ` between.
std::string joined(const std::vector<std::string>& words, std::string_view between = ", ");
/// The word nearest to `word` in edits, if near enough to be what was meant; else "".
std::string nearest(std::string_view word, const std::vector<std::string>& words);
/// `, did you mean "x"?` where a word is near, else `, want one of a, b` (or "" with no words).
std::string suggestion(std::string_view word, const std::vector<std::string>& words);

} // namespace millrace::pipeline
