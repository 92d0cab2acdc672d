#pragma once

#include "runtime/formats/stored_tensor.hpp"

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace millrace::model {

/// @returns a contiguous fp32 tensor of its own memory: the fp32 value nearest to what is stored (exact for fp32, fp16,
///          bf16 and the block kinds)
/// @throws std::invalid_argument for integer kinds: no weight is stored so
at::Tensor to_float32(const formats::stored_tensor& tensor);

/// @returns an fp32 tensor of that shape without values, on the device "meta"
at::Tensor shape_alone(const formats::stored_tensor& tensor);

/// @returns a contiguous fp32 tensor over memory that is not its own, which nobody may write to
/// @param owner keeps the memory alive as long as the tensor lives
at::Tensor float32_over(const std::byte* memory, const std::vector<std::int64_t>& shape,
                        std::shared_ptr<const void> owner);

} // namespace millrace::model
