#include "runtime/model/families.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace millrace::model {
namespace {

constexpr std::array<tensor_name, 3> llama_outer{{{"token_embd.weight", "model.embed_tokens.weight"},
                                                  {"output_norm.weight", "model.norm.weight"},
                                                  {"output.weight", "lm_head.weight"}}};

constexpr std::array<tensor_name, 11> llama_block{{{"attn_norm", "input_layernorm"},
                                                   {"attn_q", "self_attn.q_proj"},
                                                   {"attn_k", "self_attn.k_proj"},
                                                   {"attn_v", "self_attn.v_proj"},
                                                   {"attn_output", "self_attn.o_proj"},
                                                   {"attn_q_norm", "self_attn.q_norm"},
                                                   {"attn_k_norm", "self_attn.k_norm"},
                                                   {"ffn_norm", "post_attention_layernorm"},
                                                   {"ffn_gate", "mlp.gate_proj"},
                                                   {"ffn_up", "mlp.up_proj"},
                                                   {"ffn_down", "mlp.down_proj"}}};

/// A new family is a new row here, with a golden model that tests/golden/make_models.py makes.
constexpr std::array<model_family, 3> family_rows{{
    {.name = "llama",
     .architecture = "Llama",
     .default_positions = 2048,
     .default_head_dim = 0,
     .biases = attention_biases::by_key,
     .mlp_bias_by_key = true,
     .norms_heads = false,
     .gguf_interleaves_heads = true,
     .outer_names = llama_outer,
     .block_names = llama_block},
    {.name = "qwen2",
     .architecture = "Qwen2",
     .default_positions = 32768,
     .default_head_dim = 0,
     .biases = attention_biases::always_qkv,
     .mlp_bias_by_key = false,
     .norms_heads = false,
     .gguf_interleaves_heads = false,
     .outer_names = llama_outer,
     .block_names = llama_block},
    {.name = "qwen3",
     .architecture = "Qwen3",
     .default_positions = 32768,
     .default_head_dim = 128,
     .biases = attention_biases::by_key,
     .mlp_bias_by_key = false,
     .norms_heads = true,
     .gguf_interleaves_heads = false,
     .outer_names = llama_outer,
     .block_names = llama_block},
}};

} // namespace

std::span<const model_family> families() {
  return family_rows;
}

const model_family* find_family(std::string_view name) {
  const auto found = std::ranges::find(family_rows, name, &model_family::name);
  return found == family_rows.end() ? nullptr : &*found;
}

const model_family& family_named(std::string_view name) {
  if (const auto* found = find_family(name))
    return *found;
  throw std::invalid_argument("model family '" + std::string(name) + "': unknown, want "
                              + any_family([](const model_family& f) { return std::string(f.name); }));
}

std::string any_family(std::string (*spell)(const model_family&)) {
  std::string out;
  for (std::size_t i = 0; i < family_rows.size(); ++i)
    out += (i == 0 ? "" : i + 1 < family_rows.size() ? ", " : " or ") + spell(family_rows[i]);
  return out;
}

} // namespace millrace::model
