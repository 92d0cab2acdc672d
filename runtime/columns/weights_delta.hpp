#pragma once

#include "runtime/transport/bundle.hpp"

#include <optional>

namespace millrace::columns {

/// What differs between two versions of weights, bit for bit. Columns: `changed` i64 [tensors], numbers of each tensor
/// that differ; `gaps` u8, how many equal ones stand before each of them, in LEB128, from the start of a tensor or
/// behind the last one that differs; `values` u8, the bytes of the new numbers.
/// @param most of the bytes of `after` that it may take
/// @returns nothing where the layouts differ, or where it takes more
std::optional<transport::bundle> delta_of(const transport::bundle& before, const transport::bundle& after,
                                          double most = 0.5);

/// The version that a delta leads to, in memory of its own. @throws std::invalid_argument for a delta that is none of
/// `before`; std::out_of_range for columns that are missing
transport::bundle patched(const transport::bundle& before, const transport::bundle& delta);

} // namespace millrace::columns
