#pragma once

#include "runtime/data/row.hpp"

#include <string_view>

namespace millrace::data {

/// One line of a JSONL file as a row, without `index` and `where`: see `open_file` for its form.
/// @throws input_error with the reason alone, e.g. "not JSON: ...", "no answer, want ..."
row parse_row(std::string_view line);

} // namespace millrace::data
