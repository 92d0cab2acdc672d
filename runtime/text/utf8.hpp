#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace millrace::text {

/// Length in bytes of the longest prefix of `text` that is valid UTF-8 (no surrogates, no overlong forms, <= U+10FFFF).
std::size_t valid_utf8_prefix(std::string_view text);

/// Characters of valid UTF-8: the bytes that go on with none.
std::size_t characters_in(std::string_view text);

/// Moves what is decided of `bytes` to the end of `text`: whole characters as they are, U+FFFD for each maximal part
/// that can become no character. The start of a character that may still be completed stays in `bytes` (at most 3).
void take_characters(std::string& bytes, std::string& text);

/// `bytes` as text: U+FFFD for each maximal invalid part (what Rust's `from_utf8_lossy` and WHATWG decoders do).
std::string lossy_utf8(std::string_view bytes);

/// `text` (valid UTF-8) without the white space at both ends, as Python's `str.strip` counts white space.
std::string_view strip_unicode(std::string_view text);

} // namespace millrace::text
