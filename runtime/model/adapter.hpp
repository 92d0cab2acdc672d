#pragma once

#include "runtime/model/decoder.hpp"
#include "runtime/model/weights.hpp"

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

namespace millrace::model {

/// Low-rank adapters (LoRA) beside some linear layers of a decoder whose own weights stay as they are:
///
///     y = x W^T + b + (alpha / rank) (x A^T) B^T
///
/// Source: Hu et al. 2022, LoRA, arXiv:2106.09685, section 4.1. Differs from it in: nothing; no dropout.
struct adapter {
  std::int64_t rank = 0;
  double alpha = 0;
  weights parameters;    ///< `<layer>.lora_A.weight` [rank, in] and `<layer>.lora_B.weight` [out, rank], sorted by name
  std::string base_path; ///< of the model it belongs to, as PEFT's `base_model_name_or_path`; "" = not known

  double scale() const { return alpha / static_cast<double>(rank); }
};

/// New adapters: A uniform in +-1/sqrt(in) as PEFT draws it, B zero, so that the model answers as before.
/// @param targets regular expression, found in the name of a linear layer such as `model.layers.0.self_attn.q_proj`
/// @throws input_error if `targets` does not compile or names no linear layer of a decoder's block
adapter new_adapter(const weights& base, std::int64_t rank, double alpha, std::string_view targets, std::uint64_t seed);

/// Reads PEFT's folder: adapter_config.json and adapter_model.safetensors.
/// @throws input_error naming the file and the part: missing, not LoRA, of a kind that is not computed here (DoRA,
///         rsLoRA, biases, ranks or alphas by pattern, whole modules, a start that changed the base, any switch that
///         is on and not known), halves that do not fit each other
adapter load_adapter(const std::filesystem::path& folder);

/// Writes the two files that PEFT loads into a folder that is there. @throws input_error when the disk is full
void write_adapter_files(const std::filesystem::path& folder, const adapter& a, const weights& base);

/// Puts adapters beside the layers; `training_operations` then computes both. Tensors are shared.
/// @throws input_error for a layer that the decoder does not have, or of another shape
void adapt(decoder& model, const adapter& a);

/// Calls `take` with each parameter of one model that answers as base and adapters together, in the order of `base`:
/// W + (alpha / rank) B A in fp32 where there is an adapter, the very tensor of `base` elsewhere. Detached. The numbers
/// are those of `kernels::low_rank_sum` with b = (alpha / rank) B in fp32: the same bits on every machine and device.
/// @param base fp32, or bfloat16 where that is what its numbers are
/// @throws input_error before anything is taken, for a layer that the base does not have, or of another shape
void merge(const weights& base, const adapter& a,
           const std::function<void(const std::string& name, const at::Tensor& now)>& take);

/// All that `merge` makes.
weights merged(const weights& base, const adapter& a);

/// w + b a, by LibTorch's operations on any device, with the bits of `kernels::low_rank_sum`.
/// @param w [rows, columns] @param b [rows, rank] @param a [rank, columns], all fp32 @returns [rows, columns] fp32
at::Tensor low_rank_sum(const at::Tensor& w, const at::Tensor& b, const at::Tensor& a);

} // namespace millrace::model
