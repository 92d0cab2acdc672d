#pragma once

#include <string>
#include <string_view>

namespace millrace::environments {

/// What an arithmetic expression comes to: numbers, + - * / % ^ and parentheses, with the usual precedence; ^ binds to
/// the right. "*" may be written as the sign for times, "**" as ^, and a number may have commas between thousands.
///
/// @returns the value: an integer without a point, anything else with at most 12 significant digits
/// @throws input_error one line that says what is wrong and where
std::string value_of_expression(std::string_view text);

} // namespace millrace::environments
