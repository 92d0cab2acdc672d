#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace millrace::model {

/// One parameter under its Hugging Face name, e.g. `model.layers.0.self_attn.q_proj.weight`.
struct named_tensor {
  std::string name;
  at::Tensor tensor;
};

/// A model's parameters sorted by name: the one order that files, optimizer, checkpoints and transport share.
/// A tied `lm_head.weight` is left out; `model.embed_tokens.weight` stands for both.
using weights = std::vector<named_tensor>;

} // namespace millrace::model
