#pragma once

#include "runtime/text/tokenizer_data.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace millrace::text {

/// The `tokenizer.ggml.*` entries of a GGUF file, as they stand there.
struct gguf_vocabulary {
  std::string origin;              ///< the file, for error lines
  std::string model;               ///< tokenizer.ggml.model: must be "gpt2" (byte-level BPE)
  std::string pre;                 ///< tokenizer.ggml.pre: smollm, llama-bpe, qwen2, gpt-2, ...
  std::vector<std::string> tokens; ///< tokenizer.ggml.tokens
  /// tokenizer.ggml.token_type: 1 normal, 3 control, 4 user defined; may be empty.
  std::vector<std::int32_t> token_types;
  std::vector<std::string> merges;                    ///< tokenizer.ggml.merges, "a b"
  std::optional<std::int32_t> bos, eos, pad, unknown; ///< tokenizer.ggml.*_token_id; `unknown` is no part of the BPE
  std::optional<bool> add_bos; ///< tokenizer.ggml.add_bos_token; absent: as the pre-tokenizer has it
};

/// Turns a GGUF file's entries into a tokenizer's parts: the pre-tokenizer is known by its name, control and
/// user-defined tokens become added tokens.
///
/// @throws input_error naming the part for a tokenizer model or pre-tokenizer that is not byte-level BPE as known here,
///         a merge that is not two tokens, or an id outside the vocabulary
tokenizer_data tokenizer_from_gguf(gguf_vocabulary entries);

} // namespace millrace::text
