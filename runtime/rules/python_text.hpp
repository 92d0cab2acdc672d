#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::rules {

/// A text as Python sees it: one element a character. Rules that score as a Python function does work on it, because
/// the lengths and cuts of that function count characters, not bytes.
using python_text = std::u32string;

/// A byte that is no UTF-8 becomes the replacement character.
python_text as_python_text(std::string_view utf8);

std::string as_utf8(const python_text& text);

/// Whether `str.isspace` of Python is true for the character.
bool is_python_space(char32_t character);

/// Whether `str.isdigit` of Python is true for the text: digits of any script, raised, lowered and in circles; false
/// for an empty text.
bool is_python_digits(const python_text& text);

/// `text.replace(from, to)`. @param from not empty
python_text replaced(const python_text& text, std::u32string_view from, std::u32string_view to);

/// `text.split(mark)`: always at least one part. @param mark not empty
std::vector<python_text> split_at(const python_text& text, std::u32string_view mark);

/// `text.strip()`
python_text stripped(const python_text& text);

/// `text[-count:]`
python_text last_characters(const python_text& text, std::size_t count);

/// From `at` to the brace that closes the first open one, that brace too; "" if none does.
python_text through_closing_brace(const python_text& text, std::size_t at);

} // namespace millrace::rules
