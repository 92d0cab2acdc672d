#pragma once

#include "actors/column_set.hpp"
#include "runtime/train/training_group.hpp"

#include <map>
#include <string>
#include <string_view>

namespace millrace::actors {

/// A column beside the one of this name that says what it was computed with: `origin.<name>`, u32 [version, threads]. To be
/// added with columns that the group, its tokens and the versions that sampled them do not determine.
transport::bundle origin_of(std::string_view column, train::column_origin origin);

/// What such columns say, by the name of the column that they stand beside.
/// @throws std::invalid_argument for one that is not of two numbers
std::map<std::string, train::column_origin> origins_in(const column_set& columns);

} // namespace millrace::actors
