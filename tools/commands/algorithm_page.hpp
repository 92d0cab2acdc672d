#pragma once

#include "algorithms/correction.hpp"

#include <string>

namespace millrace::tools {

/// What `millrace algorithm show` prints of a row: source, columns, formula, options, differences.
std::string page_of(const algorithms::algorithm& row);
std::string page_of(const algorithms::correction& row);

/// A whole pipeline that trains SmolLM2-135M by the row with every option spelled out, run from the root of the
/// checkout: on sums, but for a score head, which learns from a file of preferences.
std::string pipeline_of(const algorithms::algorithm& row);
std::string pipeline_of(const algorithms::correction& row);

} // namespace millrace::tools
