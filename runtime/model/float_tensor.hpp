#pragma once

#include "runtime/formats/stored_tensor.hpp"
#include "runtime/model/weights.hpp"
#include "runtime/words/precision.hpp"

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace millrace::model {

/// @returns a contiguous fp32 tensor of its own memory: the fp32 value nearest to what is stored (exact for fp32, fp16,
///          bf16 and the block kinds)
/// @throws std::invalid_argument for integer kinds: no weight is stored so
at::Tensor to_float32(const formats::stored_tensor& tensor);

/// The same in a precision: bfloat16 is rounded from the fp32 value; what is stored so is copied as it is.
/// @param kept nothing: bfloat16 where it is stored so, else fp32, so that no number is rounded
at::Tensor to_floats(const formats::stored_tensor& tensor, std::optional<precision> kept);

at::ScalarType scalar_type(precision kept);

/// @returns the parameters in that precision, where they are: the very tensors that are so already
weights in_precision(const weights& parameters, precision kept);

/// @returns bfloat16 as fp32, any other tensor as it is
at::Tensor widened(const at::Tensor& tensor);

/// @returns a tensor of that shape without values, on the device "meta": bfloat16 where it is stored so, else fp32
at::Tensor shape_alone(const formats::stored_tensor& tensor);

/// @returns a contiguous tensor on the CPU without values
at::Tensor floats_of_shape(const std::vector<std::int64_t>& shape, precision kept);

/// @returns a contiguous tensor over memory that is not its own; nobody may write to what others read
/// @param owner keeps the memory alive as long as the tensor lives
at::Tensor floats_over(const std::byte* memory, const std::vector<std::int64_t>& shape, precision kept,
                       std::shared_ptr<const void> owner);

} // namespace millrace::model
