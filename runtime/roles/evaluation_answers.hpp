#pragma once

#include "runtime/roles/evaluation_core.hpp"

#include <string>
#include <vector>

namespace millrace::roles {

/// A held-out prompt's answers as one JSON object without a line's end: {"row": "file:line", "task", "answer": what is
/// expected, "answers": [{"text", "reward", "correct", "vote", "tokens", "cut_off"}]}. Bytes that are not UTF-8 are
/// written as U+FFFD.
std::string answers_line(const held_out_row& row, const std::vector<held_out_answer>& answers);

} // namespace millrace::roles
