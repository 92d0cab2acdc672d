#pragma once

#include "runtime/columns/column_set.hpp"
#include "runtime/train/training_group.hpp"

#include <map>
#include <string>
#include <string_view>

namespace millrace::columns {

/// The column that records how the column of this name was computed: `origin.<name>`, u32 [version, threads]. Add it if
/// the group, its tokens and their versions do not determine the column.
transport::bundle origin_of(std::string_view column, train::column_origin origin);

/// The content of all such columns, by the name of the column that each describes.
/// @throws std::invalid_argument for an origin that is not two numbers
std::map<std::string, train::column_origin> origins_in(const column_set& columns);

} // namespace millrace::columns
