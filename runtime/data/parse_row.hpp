#pragma once

#include "runtime/data/source.hpp"

#include <string_view>

namespace millrace::data {

/// One JSON object as a row, without `index` and `where`: see `open_file` for its form.
/// @throws input_error with the reason alone, e.g. "not JSON: ...", "no answer, want ..."
row parse_row(std::string_view text, const column_names& columns = {});

} // namespace millrace::data
