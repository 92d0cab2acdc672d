#pragma once

#include <string>
#include <string_view>

namespace millrace::rules {

/// The program in an answer: the content of its last block fenced by ```, of the last one that says ```python where
/// there is one. What stands before a last `</think>` does not count. A block that is not closed ends with the answer.
/// @returns "" where there is no block
std::string program_in(std::string_view answer);

} // namespace millrace::rules
