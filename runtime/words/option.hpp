#pragma once

#include "runtime/words/limits.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace millrace {

/// The value of an option.
using option_value = std::variant<bool, std::int64_t, double, std::string, std::vector<std::string>>;

/// The options of one rule, algorithm or correction, by name. An optional one that is not set is not in it.
using option_values = std::map<std::string, option_value, std::less<>>;

/// A key that belongs to one rule, one algorithm or one correction.
struct option {
  std::string name;
  option_value fallback;    ///< its alternative says the type; its value is the default, unless `optional` or needed
  limits allowed = {};      ///< `needed`: must be written
  std::string meaning = {}; ///< with the unit
  bool optional = false;    ///< may be left out and then is not set at all
  bool path = false;        ///< text that is a path; a relative one starts at the pipeline file's folder
};

} // namespace millrace
