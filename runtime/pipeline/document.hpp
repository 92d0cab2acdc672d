#pragma once

#include "runtime/pipeline/errors.hpp"
#include "runtime/pipeline/position.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::pipeline {

struct member;

/// A TOML value that knows where it stands.
struct value {
  enum class type { boolean, integer, real, text, date, list, table };

  type kind = type::table;
  bool boolean = false;
  std::int64_t integer = 0;
  double real = 0;
  std::string text;            ///< of a string; of a date and of a bare word of `--set`: as it was written
  bool bare = false;           ///< came from `--set` without quotes: may be taken as the string `text`
  std::vector<value> items;    ///< of a list
  std::vector<member> members; ///< of a table, in the order of the file
  position where;

  const member* find(std::string_view key) const;
  /// What it is, for a message: `"abc"`, `12`, `a list of 3`, `a table`.
  std::string found() const;
};

struct member {
  std::string key;
  position where; ///< of the key
  value is;
};

/// Parses TOML behind guards that toml++ lacks: at most 1 MiB, UTF-8 without NUL, tables, lists and dotted keys at most
/// 32 deep.
/// @param name stands in every position
/// @throws pipeline_errors with the one mistake at which reading stopped
value parse_document(std::string_view text, const std::string& name);

/// Writes `key.path=value` into a document, making tables on its way; `list.0` names an entry of a list, and so does
/// the `name` of a table in it. Appends to `mistakes` where that cannot be done.
void apply_override(value& root, const std::string& override_text, std::vector<mistake>& mistakes);

} // namespace millrace::pipeline
