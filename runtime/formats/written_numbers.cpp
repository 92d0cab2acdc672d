#include "runtime/formats/written_numbers.hpp"

#include <nlohmann/json.hpp>

#include <charconv>

namespace millrace::formats {
namespace {

using json = nlohmann::json;

class digits_builder : public nlohmann::detail::json_sax_dom_parser<json> {
public:
  explicit digits_builder(json& value) : json_sax_dom_parser(value) {}

  /// Integers of more than 64 bits come here too.
  bool number_float(double, const std::string& digits) {
    json::binary_t kept({digits.begin(), digits.end()});
    return binary(kept);
  }
};

void write(const json& value, std::string& out) {
  if (value.is_object()) {
    std::string_view between = "{";
    for (const auto& [key, member] : value.items()) {
      out.append(between).append(json(key).dump()).append(":");
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
    out += is_number(value) ? number_text(value) : value.dump();
  }
}

} // namespace

json parse_written(std::string_view text) {
  json value;
  digits_builder made(value);
  json::sax_parse(text, &made);
  return value;
}

bool is_number(const json& value) {
  return value.is_number() || value.is_binary();
}

std::string number_text(const json& number) {
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
