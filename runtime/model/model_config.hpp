#pragma once

#include "runtime/model/families.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace millrace::model {

/// How rotary frequencies are stretched beyond the context of pre-training.
struct rope_scaling {
  enum class kind { none, linear, llama3, yarn };
  kind type = kind::none;
  double factor = 1;                    ///< every kind but none; > 0
  double low_freq_factor = 1;           ///< llama3
  double high_freq_factor = 4;          ///< llama3
  std::int64_t original_context = 8192; ///< llama3, yarn: tokens
  double beta_fast = 32;                ///< yarn: frequencies with more turns in the original context stay as they are
  double beta_slow = 1;                 ///< yarn: frequencies with fewer turns are divided by `factor`
  bool truncate = true;                 ///< yarn: the two bounds between them are whole dimensions
  double attention_factor = 1;          ///< yarn: cos and sin are multiplied by it

  bool operator==(const rope_scaling&) const = default;
};

/// What config.json (or a GGUF's metadata) says of a dense decoder. Sizes are counts, never bytes.
struct model_config {
  const model_family* family = nullptr; ///< a row of `families()`; never null in a config that was read
  std::int64_t hidden_size = 0;
  std::int64_t layers = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t ffn_size = 0;      ///< intermediate_size
  std::int64_t vocab_size = 0;    ///< rows of the embedding
  std::int64_t max_positions = 0; ///< context, tokens
  double rope_theta = 10000;
  double rms_norm_eps = 1e-5;
  rope_scaling scaling;
  bool tie_embeddings = false;
  bool attention_bias = false; ///< bias on q, k and v
  bool output_bias = false;    ///< bias on o
  bool mlp_bias = false;       ///< bias on gate, up and down
  bool score_head = false;     ///< `score.weight` gives one number a token in place of logits (one label)
  std::optional<std::int32_t> bos_id;
  std::vector<std::int32_t> eos_ids; ///< every token that ends an answer; `checkpoint` says where they are named
  std::optional<std::int32_t> pad_id;
};

/// Makes `id` a token that ends an answer. One outside the vocabulary is left out: no model ever draws it.
inline void add_end_token(model_config& config, std::int32_t id) {
  if (id < config.vocab_size && std::ranges::find(config.eos_ids, id) == config.eos_ids.end())
    config.eos_ids.push_back(id);
}

} // namespace millrace::model
