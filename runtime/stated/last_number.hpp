#pragma once

#include "runtime/stated/exact_number.hpp"

#include <optional>
#include <string_view>

namespace millrace::stated {

/// The last number in a plain text (`plain_math`) in prose; nothing if there is none, or if the last is part of
/// something that is no number: 3x, 2\pi, \sqrt{2}, x/2, 1/2/3.
///
/// A sign belongs to it where no number, word or closing bracket stands right before; one with a blank behind it only
/// behind `=`, `:`, an opening bracket, a word like `is`, or at the text's begin: "7-5" and "7 - 5" end in 5, "x = - 5"
/// in -5. What is raised or lowered (cm^2, x_1), in the braces of \label and its like, or the 2 of cm2, is no number.
std::optional<exact_number> last_number(std::string_view plain, bool percent_is_hundredth);

} // namespace millrace::stated
