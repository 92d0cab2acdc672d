#pragma once

#include "runtime/model/checkpoint.hpp"

#include <filesystem>

namespace millrace::model {

/// Reads config.json, generation_config.json, the tokenizer's files and the weights of a Hugging Face folder. Where two
/// of them say different things of one fact, the model is what transformers makes of it, or is refused
/// (docs/models.md).
/// @throws input_error
checkpoint load_hf_folder(const std::filesystem::path& folder, load_options options);

/// model.safetensors, or every shard that model.safetensors.index.json names, sorted by name, under the names
/// that the decoder has for them. The index and the shards must name the same tensors; a shard lies in the folder
/// itself, never elsewhere.
/// @throws input_error
weights read_hf_weights(const std::filesystem::path& folder, precision kept = precision::float32);

} // namespace millrace::model
