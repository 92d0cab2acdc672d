#pragma once

#include "runtime/model/weights.hpp"
#include "runtime/transport/bundle.hpp"
#include "runtime/words/precision.hpp"

namespace millrace::columns {

/// A snapshot of parameters as a bundle, one column a parameter. Later training changes other memory.
/// @param sent what the columns are; bfloat16 rounds every number, once
transport::bundle bundle_of(const model::weights& parameters, precision sent = precision::float32);

/// The parameters in a bundle's own memory, which they keep alive. Nobody may write to them.
/// @throws std::invalid_argument for a column that is neither fp32 nor bfloat16
model::weights weights_of(const transport::bundle& parameters);

} // namespace millrace::columns
