#pragma once

#include "runtime/words/tensor_spec.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::transport {

/// The columns that a reader wants of a bundle. They arrive in the order of the bundle.
struct wanted_columns {
  std::vector<std::string> required = {}; ///< the pull ends as `no_such_column` if the bundle lacks one of them
  std::vector<std::string> optional = {}; ///< they come if the bundle has them
};

/// Places in `layout` of the columns that are wanted, ascending.
/// @throws std::out_of_range with `no_such_column` for a required column that is not there
std::vector<std::size_t> places_of(const wanted_columns& wanted, std::span<const tensor_spec> layout);

/// "column 'reward' is not in the bundle, which has: tokens, mask"
std::string no_such_column(std::string_view name, std::span<const tensor_spec> layout);

} // namespace millrace::transport
