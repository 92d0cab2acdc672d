#pragma once

#include <string>
#include <string_view>

namespace millrace::stated {

/// Where a text states its answer.
enum class math_place {
  any,   ///< in its last box; without one, behind the last ####; without that, behind the last "answer is", in the last
         ///< $formula$, or its last number
  boxed, ///< in its last \boxed{}
  hash,  ///< on the line behind the last ####
  whole, ///< the text is the answer
};

/// The answer that `text` states, as written; "" where it states none.
std::string stated_math(std::string_view text, math_place place);

/// What a row's expected answer states: in its last box, else behind its last ####, else the whole of it.
std::string expected_math(std::string_view text);

/// Whether two statements mean the same. They are numbers (with units, which do not count), formulas, equations and
/// inequalities, tuples and intervals, sets and lists (in any order), unions, matrices, or words. A percentage is
/// the number before the sign or a hundredth of it, whichever the other says.
///
/// Neither is read beyond 2048 bytes: longer ones are the same only where they are equal byte by byte.
bool is_same_math(std::string_view left, std::string_view right);

/// Whether a statement holds a formula that `is_same_math` cannot read: something with a digit, a command or a sign in
/// it that is no number, formula, relation or collection of these. Two statements one of which is unread and which are
/// not the same as texts may still mean the same.
bool is_unread_math(std::string_view statement);

} // namespace millrace::stated
