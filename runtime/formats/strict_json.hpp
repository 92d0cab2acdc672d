#pragma once

#include "runtime/words/input_error.hpp"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace millrace::formats {

/// What becomes of a number.
enum class json_numbers {
  values,    ///< an integer of 64 bits or a double
  as_written ///< fractions, exponents and longer integers keep their digits: see written_numbers.hpp
};

/// What becomes of a key that stands twice in an object.
enum class json_keys { refuse_twice, last_counts };

/// What one JSON value may be at most, and how it is read. Whatever a text says, reading it takes time in proportion to
/// its length.
struct json_limits {
  std::int64_t bytes = 64 << 20; ///< of the text
  int depth = 64;
  std::int64_t memory = 512 << 20; ///< of the value, as estimated while it is read
  json_numbers numbers = json_numbers::values;
  json_keys keys = json_keys::refuse_twice;
};

/// Lists and objects more than `json_limits::depth` deep.
struct json_too_deep : input_error {
  using input_error::input_error;
};

/// Reads one JSON value. The only way in this program from JSON to a value.
/// @tparam Json `nlohmann::json`, or `nlohmann::ordered_json`, whose objects have at most 1,024 keys: it finds a key by
///              looking at all of them
/// @param source stands for the file in errors; empty = errors hold the reason alone
/// @throws input_error `source:line:column: ...` on malformed text, invalid UTF-8, duplicate keys; json_too_deep
template <class Json = nlohmann::json>
Json parse_json(std::string_view text, const std::string& source, json_limits limits = {});

/// The same where a text that is no JSON is no mistake of a person: a line torn by a crash.
/// @returns a discarded value, which is no object and no list, where `parse_json` throws
template <class Json = nlohmann::json>
Json json_or_discarded(std::string_view text, json_limits limits = {});

/// One line of JSON for stdout. Control characters beyond ASCII, which JSON lets stand, are escaped too: stdout may be
/// a terminal. Bytes that are not UTF-8 become U+FFFD.
std::string json_line(const nlohmann::json& value);

/// The whole file's text. @throws input_error when it cannot be read or is longer than `limits.bytes`
std::string read_text(const std::filesystem::path& path, json_limits limits = {});

nlohmann::json read_json(const std::filesystem::path& path, json_limits limits = {});

} // namespace millrace::formats
