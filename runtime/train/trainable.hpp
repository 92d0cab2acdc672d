#pragma once

#include "runtime/model/arithmetic.hpp"
#include "runtime/model/weights.hpp"

#include <c10/core/Device.h>

#include <string>

namespace millrace::train {

/// "auto", "cpu", "cuda", "cuda:1". A program built for CUDA also runs where there is no GPU.
/// @param asked_by the key or option that holds the name
/// @throws input_error for a device that is not there
at::Device device_named(const std::string& name, const std::string& asked_by = "run.device");

/// Leaves of autograd's graph on `device`, copies in fp32. A `gradient_buffer` gives them gradients to add to.
model::weights trainable(const model::weights& parameters, at::Device device);

/// Copies in fp32 on `device` that no gradient reaches.
/// @param rounded gets what passes in bfloat16 compute with; a copy whose numbers are bfloat16 all the same is bfloat16
///        itself. nullptr: they compute with the copies
model::weights frozen(const model::weights& parameters, at::Device device, model::rounded_weights* rounded = nullptr);

} // namespace millrace::train
