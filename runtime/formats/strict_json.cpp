#include "runtime/formats/strict_json.hpp"

#include "runtime/formats/mapped_file.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

namespace millrace::formats {
namespace {

constexpr std::size_t most_ordered_keys = 1024;

// Bytes that a value takes, with what the allocator adds and a list that grows holds twice.
constexpr std::int64_t bytes_of_value = 48, bytes_of_container = 96, bytes_of_key = 96;

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

std::string with_source(const std::string& source, const std::string& why) {
  return source.empty() ? why : source + ": " + why;
}

/// Builds the value that nlohmann's parser reads out, and stops it at a limit. Its own builder with a callback knows no
/// limits, and takes quadratic time over a list of objects.
template <class Json>
class builder {
public:
  builder(std::string_view text, const std::string& source, const json_limits& limits)
      : text_(text), source_(source), limits_(limits) {}

  bool null() { return put(nullptr); }

  bool boolean(bool value) { return put(value); }

  bool number_integer(std::int64_t value) { return put(value); }

  bool number_unsigned(std::uint64_t value) { return put(value); }

  /// Integers of more than 64 bits come here too.
  bool number_float(double value, const std::string& digits) {
    if constexpr (std::is_same_v<Json, nlohmann::json>)
      if (limits_.numbers == json_numbers::as_written) {
        pay(static_cast<std::int64_t>(digits.size()));
        return put(Json::binary({digits.begin(), digits.end()}));
      }
    return put(value);
  }

  bool string(std::string& value) {
    pay(static_cast<std::int64_t>(value.size()));
    return put(std::move(value));
  }

  bool binary(typename Json::binary_t&) { return false; } // only of binary formats

  bool start_object(std::size_t) { return open(Json::object()); }

  bool start_array(std::size_t) { return open(Json::array()); }

  bool end_object() { return close(); }

  bool end_array() { return close(); }

  bool key(std::string& name) {
    pay(bytes_of_key + 2 * static_cast<std::int64_t>(name.size()));
    auto& object = *open_.back();
    if (std::is_same_v<Json, nlohmann::ordered_json> && object.size() >= most_ordered_keys)
      fail("an object of more than " + std::to_string(most_ordered_keys) + " keys");
    const auto [entry, is_new] = object.emplace(name, nullptr);
    if (!is_new && limits_.keys == json_keys::refuse_twice)
      fail("key " + in_quotes(name) + " stands twice");
    value_of_key_ = &*entry;
    return true;
  }

  bool parse_error(std::size_t byte, const std::string&, const nlohmann::detail::exception& error) {
    const std::string why = reason(error.what());
    const std::string found = why.find("ill-formed UTF-8") == std::string::npos ? "not JSON: " : "not UTF-8: ";
    if (source_.empty())
      throw input_error(found + place(text_, byte).substr(1) + ": " + why);
    throw input_error(source_ + place(text_, byte) + ": " + found + why);
  }

  Json take() { return std::move(root_); }

private:
  [[noreturn]] void fail(const std::string& why) const { throw input_error(with_source(source_, why)); }

  void pay(std::int64_t bytes) {
    memory_ += bytes;
    if (memory_ > limits_.memory)
      fail("JSON of more than " + std::to_string(limits_.memory) + " bytes in memory, want fewer values");
  }

  bool put(Json value) {
    slot(std::move(value));
    return true;
  }

  /// Where the value to come belongs, with it in place.
  Json& slot(Json value) {
    pay(bytes_of_value);
    if (open_.empty())
      return root_ = std::move(value);
    if (!open_.back()->is_array())
      return *value_of_key_ = std::move(value);
    open_.back()->push_back(std::move(value));
    return open_.back()->back();
  }

  bool open(Json value) {
    if (static_cast<int>(open_.size()) >= limits_.depth)
      throw json_too_deep(with_source(source_, "JSON nested deeper than " + std::to_string(limits_.depth)));
    pay(bytes_of_container);
    Json& placed = slot(std::move(value)); // lists that are open grow no more until it is closed
    open_.push_back(&placed);
    return true;
  }

  bool close() {
    open_.pop_back();
    return true;
  }

  std::string_view text_;
  const std::string& source_;
  const json_limits& limits_;
  std::int64_t memory_ = 0;
  Json root_;
  std::vector<Json*> open_;
  Json* value_of_key_ = nullptr;
};

} // namespace

template <class Json>
Json parse_json(std::string_view text, const std::string& source, json_limits limits) {
  if (static_cast<std::int64_t>(text.size()) > limits.bytes)
    throw input_error(with_source(source, std::to_string(text.size()) + " bytes of JSON, want at most "
                                              + std::to_string(limits.bytes)));
  builder<Json> value(text, source, limits);
  Json::sax_parse(text.begin(), text.end(), &value);
  return value.take();
}

template <class Json>
Json json_or_discarded(std::string_view text, json_limits limits) {
  try {
    return parse_json<Json>(text, "", limits);
  } catch (const input_error&) {
    return Json(nlohmann::detail::value_t::discarded);
  }
}

template nlohmann::json parse_json(std::string_view, const std::string&, json_limits);
template nlohmann::ordered_json parse_json(std::string_view, const std::string&, json_limits);
template nlohmann::json json_or_discarded(std::string_view, json_limits);
template nlohmann::ordered_json json_or_discarded(std::string_view, json_limits);

std::string json_line(const nlohmann::json& value) {
  const std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  constexpr char digits[] = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]), next = static_cast<unsigned char>(text.c_str()[i + 1]);
    const bool of_two = byte == 0xc2 && next >= 0x80 && next < 0xa0; // U+0080 to U+009F
    const auto control = of_two ? next : byte;
    if (of_two || byte == 0x7f)
      out += {'\\', 'u', '0', '0', digits[control >> 4], digits[control & 15]};
    else
      out += text[i];
    i += of_two ? 1 : 0;
  }
  return out;
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
