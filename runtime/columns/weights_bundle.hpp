#pragma once

#include "runtime/model/weights.hpp"
#include "runtime/transport/bundle.hpp"

namespace millrace::columns {

/// A snapshot of parameters as a bundle, one column a parameter, fp32. Later training changes other memory.
transport::bundle bundle_of(const model::weights& parameters);

/// The parameters in a bundle's own memory, which they keep alive. Nobody may write to them.
/// @throws std::invalid_argument for a column that is not fp32
model::weights weights_of(const transport::bundle& parameters);

} // namespace millrace::columns
