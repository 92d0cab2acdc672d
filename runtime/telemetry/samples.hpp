#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace millrace::telemetry {

/// Some answers of each step in words, for people who want to see what is trained: the first answer of each group in
/// turn, then the second ones.
///
///     step 3, group 12: user: What is 47 plus 12?
///       reward 1.2, 3 tokens, stop: 59
///
/// Text is one line each, cut after 400 bytes, control characters as \n or \xNN.
/// @param rows   lines of a trajectory file, steps in their order
/// @param answers shown of each step
std::string samples_in_words(std::string_view rows, std::size_t answers);

} // namespace millrace::telemetry
