#include "runtime/formats/json_fields.hpp"

#include "runtime/formats/quoted.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <cmath>
#include <limits>

namespace millrace::formats {

namespace {

using json = nlohmann::json;

std::string shown(const json* value) {
  if (value == nullptr)
    return "nothing";
  if (value->is_string())
    return in_quotes(value->get_ref<const std::string&>());
  return printable(value->dump(-1, ' ', false, json::error_handler_t::replace), 80);
}

} // namespace

json_fields::json_fields(const nlohmann::json& object, std::string source, std::string prefix)
    : object_(&object), source_(std::move(source)), prefix_(std::move(prefix)) {
  if (!object.is_object())
    throw input_error(source_ + ": " + (prefix_.empty() ? "" : prefix_ + ": ") + "found " + shown(&object)
                      + ", want an object");
}

std::int64_t json_fields::size() const {
  return static_cast<std::int64_t>(object_->size());
}

const json* json_fields::find(std::string_view key) const {
  const auto found = object_->find(key);
  return found == object_->end() || found->is_null() ? nullptr : &*found;
}

void json_fields::refuse(std::string_view key, const std::string& want) const {
  throw input_error(source_ + ": " + prefix_ + std::string(key) + ": found " + shown(find(key)) + ", want " + want);
}

std::optional<std::int64_t> json_fields::integer(std::string_view key, std::int64_t least, std::int64_t most) const {
  const json* value = find(key);
  if (value == nullptr)
    return std::nullopt;
  const bool fits =
      value->is_number_integer()
      && (!value->is_number_unsigned()
          || value->get<std::uint64_t>() <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()));
  if (!fits || value->get<std::int64_t>() < least || value->get<std::int64_t>() > most)
    refuse(key, "an integer from " + std::to_string(least) + " to " + std::to_string(most));
  return value->get<std::int64_t>();
}

std::optional<double> json_fields::number(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr)
    return std::nullopt;
  if (!value->is_number() || !std::isfinite(value->get<double>()))
    refuse(key, "a number");
  return value->get<double>();
}

std::optional<bool> json_fields::flag(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr)
    return std::nullopt;
  if (!value->is_boolean())
    refuse(key, "true or false");
  return value->get<bool>();
}

std::optional<std::string> json_fields::text(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr)
    return std::nullopt;
  if (!value->is_string())
    refuse(key, "a string");
  return value->get<std::string>();
}

std::vector<std::int32_t> json_fields::token_ids(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr)
    return {};
  std::vector<std::int32_t> out;
  const json list = value->is_array() ? *value : json::array({*value});
  for (const auto& item : list) {
    constexpr auto least = std::numeric_limits<std::int32_t>::min(), most = std::numeric_limits<std::int32_t>::max();
    if (!item.is_number_integer() || item.get<std::int64_t>() < least || item.get<std::int64_t>() > most)
      refuse(key, "a token id or a list of token ids");
    if (const auto id = item.get<std::int32_t>(); id >= 0)
      out.push_back(id);
  }
  return out;
}

std::optional<std::int32_t> json_fields::token_id(std::string_view key) const {
  const auto ids = token_ids(key);
  return ids.empty() ? std::nullopt : std::optional(ids.front());
}

std::vector<std::string> json_fields::texts(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr)
    return {};
  std::vector<std::string> out;
  if (!value->is_array())
    refuse(key, "a list of strings");
  for (const auto& item : *value) {
    if (!item.is_string())
      refuse(key, "a list of strings");
    out.push_back(item.get<std::string>());
  }
  return out;
}

std::optional<json_fields> json_fields::object(std::string_view key) const {
  const json* value = find(key);
  if (value == nullptr)
    return std::nullopt;
  return json_fields(*value, source_, prefix_ + std::string(key) + ".");
}

} // namespace millrace::formats
