#include "runtime/formats/written_numbers.hpp"

#include <nlohmann/json.hpp>

#include <charconv>

namespace millrace::formats {
namespace {

using json = nlohmann::json;

/// A text, a truth value, null, or a number that was read as a value.
std::string scalar_text(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

void write(const json& value, std::string& out) {
  if (value.is_object()) {
    std::string_view between = "{";
    for (const auto& [key, member] : value.items()) {
      out.append(between).append(scalar_text(key)).append(":");
      write(member, out);
      between = ",";
    }
    out += value.empty() ? "{}" : "}";
  } else if (value.is_array()) {
    std::string_view between = "[";
    for (const auto& element : value) {
      out.append(between);
      write(element, out);
      between = ",";
    }
    out += value.empty() ? "[]" : "]";
  } else {
    out += is_number(value) ? number_text(value) : scalar_text(value);
  }
}

} // namespace

bool is_number(const json& value) {
  return value.is_number() || value.is_binary();
}

std::string number_text(const json& number) {
  if (number.is_number_unsigned())
    return std::to_string(number.get<std::uint64_t>());
  if (number.is_number_integer())
    return std::to_string(number.get<std::int64_t>());
  if (!number.is_binary())
    return number.dump();
  const auto& digits = number.get_binary();
  return {digits.begin(), digits.end()};
}

double number_of(const json& number) {
  const std::string digits = number_text(number);
  double value = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), value);
  return value;
}

std::string written_type(const json& value) {
  return is_number(value) ? "number" : value.type_name();
}

std::string written_text(const json& value) {
  std::string out;
  write(value, out);
  return out;
}

} // namespace millrace::formats
