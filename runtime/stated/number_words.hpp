#pragma once

#include <string_view>

namespace millrace::stated {

/// `cm`, `kg`, `mph`: letters that measure a number that they follow, with or without a space.
bool is_unit(std::string_view word);

/// `m`, `g`, `s`: single letters that measure a number rather than multiply it. @param joined no space stands between
bool is_unit_letter(char letter, bool joined);

/// Whether `phrase`, which stands behind a number, leaves it the number that it is: "cm^2", "apples", "km per hour, so
/// done". "or more", "x", "squared", a second number or an operator do not.
bool only_measures(std::string_view phrase);

/// Whether `phrase`, which stands before a number, leaves it the number that it is: "The answer is", "Total:".
/// "at least", "not", "x" do not.
bool only_introduces(std::string_view phrase);

/// `sqrt`, `log`, `sin`: what follows is the argument of a function, not a number by itself.
bool is_function(std::string_view word);

/// `squared`, `factorial`, `pi`: the number before is part of another one.
bool changes_number_before(std::string_view word);

/// `is`, `equals`: a sign behind it belongs to the number that follows.
bool states(std::string_view word);

/// 2 for `hundred`, 3 for `thousand`, 6 for `million`, ...; 0 for every other word.
int zeros_of(std::string_view word);

} // namespace millrace::stated
