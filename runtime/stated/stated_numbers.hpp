#pragma once

#include "runtime/stated/exact_number.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace millrace::stated {

/// What a text states: one number, or several in a row ("3, 4"); none where it states nothing that can be read.
using stated_numbers = std::vector<exact_number>;

/// Where an answer states its number.
enum class number_place {
  last,  ///< in its last box; in a text without a box, the last number
  boxed, ///< in its last box
  hash,  ///< behind the last ####
  whole, ///< the text is the number, and nothing is said before it
};

/// What `text` states at `place`.
///
/// A box, a line behind ####, or a whole text is read as one: a number; `x =` before it; units or words that leave it
/// the number that it is; several of these between commas, semicolons, `and`, `or`. Anything else states nothing: an
/// expression (3x, 2\pi, x > 5, 12\ldots), an interval, an empty box, one that is not closed.
///
/// @param text                as written: it is made plain here
/// @param percent_is_hundredth 50% is 0.5 instead of 50
stated_numbers stated_in(std::string_view text, number_place place, bool percent_is_hundredth);

/// What a row's expected answer states: behind its last ####, else in its last box, else the whole of it, where words
/// may stand before the number ("The answer is 42").
stated_numbers expected_in(std::string_view text, bool percent_is_hundredth);

/// One text for equal numbers: "-0.75, 12"; "" for none.
std::string canonical(const stated_numbers& numbers);

} // namespace millrace::stated
