#pragma once

#include "runtime/model/model_config.hpp"
#include "runtime/model/weights.hpp"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <tuple>

namespace millrace::tests {

/// A decoder small enough to be redone by plain operations in milliseconds.
inline model::model_config tiny_config(std::string_view family, std::int64_t vocab = 40) {
  model::model_config c;
  c.family = &model::family_named(family);
  c.hidden_size = 32;
  c.layers = 2;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = family == "qwen3" ? 16 : 8;
  c.ffn_size = 48;
  c.vocab_size = vocab;
  c.max_positions = 64;
  c.rms_norm_eps = 1e-5;
  c.tie_embeddings = family != "llama";
  c.attention_bias = c.family->biases == model::attention_biases::always_qkv;
  return c;
}

/// Random parameters of that shape, sorted by name: projections scaled by 1 / sqrt(in), norms around 1.
inline model::weights random_weights(const model::model_config& c, std::uint64_t seed, at::ScalarType type,
                                     bool differentiable) {
  at::manual_seed(seed);
  model::weights out;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    at::Tensor t = at::randn(shape, type);
    if (name.ends_with("norm.weight"))
      t = 1 + 0.1 * t;
    else if (name.ends_with(".weight"))
      t = t / std::sqrt(static_cast<double>(shape.back()));
    out.push_back({name, t.requires_grad_(differentiable)});
  };
  add("model.embed_tokens.weight", {c.vocab_size, c.hidden_size});
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const std::string at = "model.layers." + std::to_string(i) + ".";
    add(at + "input_layernorm.weight", {c.hidden_size});
    add(at + "post_attention_layernorm.weight", {c.hidden_size});
    for (const auto& [name, heads] : {std::pair{"q", c.heads}, {"k", c.kv_heads}, {"v", c.kv_heads}}) {
      add(at + "self_attn." + name + "_proj.weight", {heads * c.head_dim, c.hidden_size});
      if (c.attention_bias)
        add(at + "self_attn." + name + "_proj.bias", {heads * c.head_dim});
    }
    add(at + "self_attn.o_proj.weight", {c.hidden_size, c.heads * c.head_dim});
    if (c.family->norms_heads) {
      add(at + "self_attn.q_norm.weight", {c.head_dim});
      add(at + "self_attn.k_norm.weight", {c.head_dim});
    }
    for (const auto& [name, to, from] : {std::tuple{"gate", c.ffn_size, c.hidden_size},
                                         {"up", c.ffn_size, c.hidden_size},
                                         {"down", c.hidden_size, c.ffn_size}}) {
      add(at + "mlp." + name + "_proj.weight", {to, from});
      if (c.mlp_bias)
        add(at + "mlp." + name + "_proj.bias", {to});
    }
  }
  add("model.norm.weight", {c.hidden_size});
  if (!c.tie_embeddings)
    add("lm_head.weight", {c.vocab_size, c.hidden_size});
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

inline model::weights copy_of(const model::weights& parameters) {
  model::weights copies;
  for (const auto& parameter : parameters)
    copies.push_back({parameter.name, parameter.tensor.detach().clone()});
  return copies;
}

/// Whether all have the same bits, but for the sign of zero.
inline bool equal_bits(const model::weights& a, const model::weights& b) {
  for (std::size_t i = 0; i < a.size(); ++i)
    if (!at::equal(a[i].tensor, b[i].tensor))
      return false;
  return a.size() == b.size();
}

} // namespace millrace::tests
