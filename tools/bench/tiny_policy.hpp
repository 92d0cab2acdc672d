#pragma once

#include "runtime/model/decoder.hpp"
#include "runtime/model/training_operations.hpp"
#include "runtime/train/training_group.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

namespace millrace::tools {

/// A Llama of two layers that learns within seconds.
inline model::model_config tiny_llama(std::int64_t vocab) {
  model::model_config c;
  c.family = &model::family_named("llama");
  c.hidden_size = 32;
  c.layers = 2;
  c.heads = 4;
  c.kv_heads = 2;
  c.head_dim = 8;
  c.ffn_size = 48;
  c.vocab_size = vocab;
  c.max_positions = 64;
  c.rms_norm_eps = 1e-5;
  c.tie_embeddings = false;
  return c;
}

/// Random parameters of that shape, sorted by name: projections scaled by 1 / sqrt(in), norms around 1.
inline model::weights tiny_weights(const model::model_config& c, std::uint64_t seed) {
  at::manual_seed(seed);
  model::weights out;
  const auto norm = [&](const std::string& name) {
    out.push_back({name + ".weight", 1 + 0.1 * at::randn({c.hidden_size})});
  };
  const auto matrix = [&](const std::string& name, std::int64_t to, std::int64_t from) {
    out.push_back({name + ".weight", at::randn({to, from}) / std::sqrt(static_cast<double>(from))});
  };
  matrix("model.embed_tokens", c.vocab_size, c.hidden_size);
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const std::string layer = "model.layers." + std::to_string(i) + ".";
    norm(layer + "input_layernorm");
    norm(layer + "post_attention_layernorm");
    matrix(layer + "self_attn.q_proj", c.heads * c.head_dim, c.hidden_size);
    matrix(layer + "self_attn.k_proj", c.kv_heads * c.head_dim, c.hidden_size);
    matrix(layer + "self_attn.v_proj", c.kv_heads * c.head_dim, c.hidden_size);
    matrix(layer + "self_attn.o_proj", c.hidden_size, c.heads * c.head_dim);
    matrix(layer + "mlp.gate_proj", c.ffn_size, c.hidden_size);
    matrix(layer + "mlp.up_proj", c.ffn_size, c.hidden_size);
    matrix(layer + "mlp.down_proj", c.hidden_size, c.ffn_size);
  }
  norm("model.norm");
  matrix("lm_head", c.vocab_size, c.hidden_size);
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

inline constexpr int tiny_answers = 16, tiny_length = 4;

/// The next token of each answer's row [answers, vocab], drawn with one number of `uniform` each.
inline void draw_tokens(const at::Tensor& logprob, std::mt19937_64& random, train::training_group& group) {
  std::uniform_real_distribution<double> uniform;
  const std::int64_t vocab = logprob.size(1);
  for (std::size_t a = 0; a < group.answers.size(); ++a) {
    const float* row = logprob.data_ptr<float>() + static_cast<std::int64_t>(a) * vocab;
    double left = uniform(random);
    std::int32_t token = 0;
    while (token + 1 < vocab && (left -= std::exp(row[token])) > 0)
      ++token;
    group.answers[a].push_back(token);
    group.behaviour_logprob[a].push_back(row[token]);
  }
}

/// `tiny_answers` answers of `tiny_length` tokens, sampled from the training forward itself, whole sequences again for
/// each token. Rewards are left at 0.
inline train::training_group sample_group(const model::decoder& decoder, std::int32_t prompt, std::mt19937_64& random,
                                          std::uint32_t version) {
  const at::NoGradGuard no_grad;
  train::training_group group;
  group.prompt = {1, prompt};
  group.answers.resize(tiny_answers);
  group.behaviour_logprob.resize(tiny_answers);
  group.reward.resize(tiny_answers);
  group.version.assign(tiny_answers, std::vector<std::uint32_t>(tiny_length, version));
  for (int t = 0; t < tiny_length; ++t) {
    const std::vector<model::packed_group> layout(tiny_answers, {2 + t, {}});
    std::vector<std::int64_t> tokens, positions;
    for (const auto& answer : group.answers) {
      tokens.insert(tokens.end(), {1, prompt});
      tokens.insert(tokens.end(), answer.begin(), answer.end());
      for (int i = 0; i < 2 + t; ++i)
        positions.push_back(i);
    }
    model::training_operations ops(layout);
    const auto hidden = decoder.hidden(ops, at::tensor(tokens, at::kLong), at::tensor(positions, at::kLong));
    const auto last = hidden.view({tiny_answers, 2 + t, -1}).select(1, 1 + t);
    draw_tokens(last.matmul(decoder.head().weight.t()).log_softmax(-1).contiguous(), random, group);
  }
  return group;
}

} // namespace millrace::tools
