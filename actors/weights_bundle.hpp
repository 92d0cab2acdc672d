#pragma once

#include "runtime/model/weights.hpp"
#include "runtime/transport/bundle.hpp"

namespace millrace::actors {

/// A snapshot of parameters as a bundle, one column a parameter, fp32: what trains on afterwards changes other memory.
transport::bundle bundle_of(const model::weights& parameters);

/// The parameters in a bundle's own memory, which they keep alive. Nobody may write to them.
/// @throws std::invalid_argument for a column that is not fp32
model::weights weights_of(const transport::bundle& parameters);

} // namespace millrace::actors
