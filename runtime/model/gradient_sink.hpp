#pragma once

#include <ATen/core/Tensor.h>

namespace millrace::model {

/// The tensor a backward pass may add `parameter`'s gradient to: its own `.grad`, where it is a leaf that has one;
/// undefined otherwise. Adding there saves an intermediate of the parameter's size.
inline at::Tensor gradient_sink(const at::Tensor& parameter) {
  return parameter.is_leaf() && parameter.requires_grad() ? parameter.grad() : at::Tensor();
}

} // namespace millrace::model
