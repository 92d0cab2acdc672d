#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace::text {

/// The byte-level alphabet of GPT-2: each of the 256 bytes is one printable character, itself where it is printable in
/// Latin-1, else the next of U+0100, U+0101, ... (space is U+0120). Vocabularies are written in it.
///
/// @returns the characters of `bytes`, UTF-8
std::string to_byte_alphabet(std::string_view bytes);

/// The bytes that `token` (valid UTF-8) writes; nothing if one of its characters is not of the alphabet.
std::optional<std::string> from_byte_alphabet(std::string_view token);

} // namespace millrace::text
