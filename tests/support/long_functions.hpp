#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::tests {

/// C++ source with everything blanked that is no code: comments, texts, character literals, preprocessor lines. Lines
/// and columns stay.
std::string only_code(std::string_view source);

/// A function of a source and its length.
struct function_length {
  std::string name; ///< its first line, without the brace
  int line = 0;     ///< of the opening brace, from 1
  int lines = 0;    ///< from the line with the opening brace to the line with the closing one
};

/// The functions at namespace and class scope. Written for sources in the format of .clang-format, which puts a blank
/// before the brace of a body and none before the brace of a value.
std::vector<function_length> functions_in(std::string_view source);

} // namespace millrace::tests
