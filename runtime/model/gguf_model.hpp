#pragma once

#include "runtime/formats/gguf.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/model/float_tensor.hpp"

namespace millrace::model {

/// Reads a GGUF of a known family with a byte-level BPE tokenizer.
/// @throws input_error
checkpoint load_gguf(const std::filesystem::path& path, load_options options);

/// `{arch}.*` metadata as a config. A `rope_freqs.weight` tensor is turned back into the llama3 scaling it was made of.
/// @throws input_error `path: key: found, want`; another architecture is refused by name
model_config gguf_config(const formats::gguf_file& file);

/// Tensors under their Hugging Face names, sorted. Where a family's GGUFs interleave each head's rows of q and
/// k, they are put back into halves.
/// @param read makes a tensor of a stored one: its values, or its shape alone
weights gguf_weights(const formats::gguf_file& file, const model_config& config,
                     const std::function<at::Tensor(const formats::stored_tensor&)>& read = to_float32);

} // namespace millrace::model
