#pragma once

#include <string>
#include <vector>

namespace millrace::pipeline {

/// One text, or several: `"a"` or `["a", "b"]` in a file.
struct one_or_more {
  std::vector<std::string> texts;

  bool operator==(const one_or_more&) const = default;
};

} // namespace millrace::pipeline
