#pragma once

#include <string>

namespace millrace::pipeline {

/// `{ ... }` of which somebody else knows the keys: booleans, finite numbers, strings, lists and tables of them.
struct open_table {
  std::string json = "{}"; ///< for them
  std::string toml = "{}"; ///< as it stands in a pipeline file

  bool operator==(const open_table&) const = default;
};

} // namespace millrace::pipeline
