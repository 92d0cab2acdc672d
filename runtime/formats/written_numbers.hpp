#pragma once

#include <nlohmann/json_fwd.hpp>

#include <string>

namespace millrace::formats {

// Values that `parse_json` read with `json_numbers::as_written`: their fractions, exponents and integers of more than
// 64 bits keep their digits, so that 1.10 stays 1.10. Such a number is a binary value of the digits, which no JSON text
// can hold otherwise; these functions read both kinds of numbers.

bool is_number(const nlohmann::json& value);

/// The digits as they were written. @param number `is_number`
std::string number_text(const nlohmann::json& number);

/// The nearest double. @param number `is_number`
double number_of(const nlohmann::json& number);

/// As `json::type_name`.
std::string written_type(const nlohmann::json& value);

/// The value as one line of JSON, its numbers as they were written. Bytes that are not UTF-8 become U+FFFD.
std::string written_text(const nlohmann::json& value);

} // namespace millrace::formats
