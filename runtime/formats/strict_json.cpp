#include "runtime/formats/strict_json.hpp"

#include "runtime/formats/mapped_file.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <unordered_set>
#include <vector>

namespace millrace::formats {
namespace {

using json = nlohmann::json;

/// `:line:column` of a byte, both from 1, columns in bytes.
std::string place(std::string_view text, std::size_t byte) {
  const auto before = text.substr(0, std::min(byte, text.size()));
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const auto start = before.rfind('\n');
  const auto column = before.size() - (start == std::string_view::npos ? 0 : start + 1);
  std::string out(":");
  return out.append(std::to_string(line)).append(":").append(std::to_string(std::max<std::size_t>(column, 1)));
}

/// nlohmann's sentence without its "[json.exception...] parse error at line 1, column 2: ".
std::string reason(std::string_view what) {
  const auto start = what.find(": ");
  return printable(start == std::string_view::npos ? what : what.substr(start + 2));
}

} // namespace

nlohmann::json parse_json(std::string_view text, const std::string& source, json_limits limits) {
  if (static_cast<std::int64_t>(text.size()) > limits.bytes)
    throw input_error(source + ": " + std::to_string(text.size()) + " bytes of JSON, want at most "
                      + std::to_string(limits.bytes));
  std::vector<std::unordered_set<std::string>> keys; // of the objects that are open
  const auto check = [&](int depth, json::parse_event_t event, json& parsed) {
    switch (event) {
    case json::parse_event_t::object_start:
      keys.emplace_back();
      [[fallthrough]];
    case json::parse_event_t::array_start:
      if (depth >= limits.depth)
        throw input_error(source + ": JSON nested deeper than " + std::to_string(limits.depth));
      break;
    case json::parse_event_t::object_end:
      keys.pop_back();
      break;
    case json::parse_event_t::key:
      if (!keys.back().insert(parsed.get_ref<const std::string&>()).second)
        throw input_error(source + ": key " + in_quotes(parsed.get_ref<const std::string&>()) + " stands twice");
      break;
    default:
      break;
    }
    return true;
  };
  try {
    return json::parse(text, check);
  } catch (const json::parse_error& error) {
    throw input_error(source + place(text, error.byte) + ": not JSON: " + reason(error.what()));
  } catch (const json::exception& error) {
    throw input_error(source + ": not JSON: " + reason(error.what()));
  }
}

std::string read_text(const std::filesystem::path& path, json_limits limits) {
  const mapped_file file(path);
  const auto bytes = file.bytes();
  if (static_cast<std::int64_t>(bytes.size()) > limits.bytes)
    throw input_error(path.string() + ": " + std::to_string(bytes.size()) + " bytes, want at most "
                      + std::to_string(limits.bytes));
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

nlohmann::json read_json(const std::filesystem::path& path, json_limits limits) {
  return parse_json(read_text(path, limits), path.string(), limits);
}

} // namespace millrace::formats
