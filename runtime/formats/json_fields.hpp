#pragma once

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::formats {

/// Typed reads of one JSON object's fields. A field that is null counts as missing, as in Hugging Face's files.
/// Every error is `source: key: found ..., want ...`.
class json_fields {
public:
  /// @param prefix stands before every key in errors, e.g. "rope_scaling."
  /// @throws input_error when `object` is no object
  json_fields(const nlohmann::json& object, std::string source, std::string prefix = "");

  bool has(std::string_view key) const { return find(key) != nullptr; }

  /// How many fields there are, whatever they hold.
  std::int64_t size() const;

  /// @throws input_error when it is there and is no integer in [least, most]
  std::optional<std::int64_t> integer(std::string_view key, std::int64_t least, std::int64_t most) const;
  std::optional<double> number(std::string_view key) const;
  std::optional<bool> flag(std::string_view key) const;
  std::optional<std::string> text(std::string_view key) const;

  /// One token id, or a list of them; empty when missing. A negative id stands for no token and is left out.
  std::vector<std::int32_t> token_ids(std::string_view key) const;
  std::optional<std::int32_t> token_id(std::string_view key) const;

  std::vector<std::string> texts(std::string_view key) const;
  std::optional<json_fields> object(std::string_view key) const;

  /// @throws input_error, always
  [[noreturn]] void refuse(std::string_view key, const std::string& want) const;

  /// @throws input_error when the value is missing
  template <class T>
  T required(std::string_view key, std::optional<T> value, const std::string& want) const {
    if (!value)
      refuse(key, want);
    return *std::move(value);
  }

private:
  const nlohmann::json* find(std::string_view key) const;

  const nlohmann::json* object_;
  std::string source_, prefix_;
};

} // namespace millrace::formats
