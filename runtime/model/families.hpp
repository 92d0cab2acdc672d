#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace millrace::model {

/// Which linear layers of a block's attention have a bias.
enum class attention_biases {
  by_key,     ///< config.json's `attention_bias` says so of q, k, v and o together
  always_qkv, ///< q, k and v always, o never; config.json has no key for it
};

/// A tensor's name in a GGUF and the parameter's name, which is Hugging Face's. Of a tensor of a block: what stands
/// between `blk.N.` or `model.layers.N.` and `.weight` or `.bias`.
struct tensor_name {
  std::string_view gguf, parameter;
};

/// A family of dense decoders: how its files differ from the other families', and its block from the plain one. The
/// plain block is Llama's: RMS norms before attention and feed-forward, rotary positions, grouped queries, SwiGLU.
struct model_family {
  std::string_view name;          ///< config.json's `model_type` and GGUF's `general.architecture`
  std::string_view architecture;  ///< in config.json's `architectures`, without the words that name the head
  std::int64_t default_positions; ///< max_position_embeddings where config.json is silent, as transformers has it
  std::int64_t default_head_dim;  ///< head_dim where config.json is silent; 0: hidden_size / num_attention_heads
  attention_biases biases;
  bool mlp_bias_by_key;                     ///< config.json's `mlp_bias` says that gate, up and down have a bias
  bool norms_heads;                         ///< q and k are normalised head by head, before their rotation
  bool gguf_interleaves_heads;              ///< a GGUF has each head's rows of q and k as pairs, not as two halves
  std::span<const tensor_name> outer_names; ///< of tensors that are in no block
  std::span<const tensor_name> block_names;
};

/// Every family that is known, a row each.
std::span<const model_family> families();

/// @returns null for a name that no row has
const model_family* find_family(std::string_view name);

/// @throws std::invalid_argument that lists the names, for a name that no row has
const model_family& family_named(std::string_view name);

/// What `spell` makes of each row, as a sentence has it: "a, b or c".
std::string any_family(std::string (*spell)(const model_family&));

} // namespace millrace::model
