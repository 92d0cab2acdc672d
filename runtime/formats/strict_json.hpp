#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace millrace::formats {

struct json_limits {
  std::int64_t bytes = 64 << 20;
  int depth = 64;
};

/// Parses one JSON value whose every object names each key once.
/// @param source stands for the file in errors
/// @throws input_error `source:line:column: ...` on malformed text, invalid UTF-8, duplicate keys, too deep a nesting
nlohmann::json parse_json(std::string_view text, const std::string& source, json_limits limits = {});

/// The whole file's text. @throws input_error when it cannot be read or is longer than `limits.bytes`
std::string read_text(const std::filesystem::path& path, json_limits limits = {});

nlohmann::json read_json(const std::filesystem::path& path, json_limits limits = {});

} // namespace millrace::formats
