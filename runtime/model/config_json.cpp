#include "runtime/model/config_json.hpp"

#include "runtime/formats/json_fields.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/formats/strict_json.hpp"
#include "runtime/model/rope_json.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

namespace millrace::model {
namespace {

using json = nlohmann::json;

/// What stands behind the family's name in `architectures`: the head. A decoder saved without its head is a language
/// model if its embedding is the head.
constexpr std::string_view language_model = "ForCausalLM", classifier = "ForSequenceClassification", headless = "Model";

constexpr std::int64_t most = std::numeric_limits<std::int32_t>::max();

std::string architecture_name(const model_family& family, std::string_view head) {
  return std::string(family.architecture) + std::string(head);
}

/// The family, and whether a score head is on it.
std::pair<const model_family*, bool> family_of(const formats::json_fields& in) {
  const auto names = in.texts("architectures");
  const auto type = in.text("model_type");
  for (const auto& known : families())
    for (const auto head : {language_model, classifier, headless})
      if (names.empty() ? type == known.name : names.front() == architecture_name(known, head)) {
        if (type && *type != known.name)
          in.refuse("model_type", "\"" + std::string(known.name) + "\", as architectures says");
        return {&known, !names.empty() && head == classifier};
      }
  in.refuse("architectures",
            any_family([](const model_family& known) { return architecture_name(known, language_model); }) + " (or ..."
                + std::string(classifier) + ")");
}

/// One number a text: `num_labels`, or as many as `id2label` names, or transformers' default of two.
void want_one_label(const formats::json_fields& in) {
  const auto labels = in.object("id2label");
  const std::int64_t count = in.integer("num_labels", 0, most).value_or(labels ? labels->size() : 2);
  if (count != 1)
    in.refuse(in.has("num_labels") ? "num_labels" : "id2label",
              "one label: a critic or a reward model gives one number");
}

/// What this decoder would compute wrongly without saying so.
void refuse_unsupported(const formats::json_fields& in, const model_family& family, std::int64_t layers) {
  const auto activation = in.text("hidden_act").value_or("silu");
  if (activation != "silu" && activation != "swish")
    in.refuse("hidden_act", "silu");
  if (in.flag("mlp_bias").value_or(false) && !family.mlp_bias_by_key)
    in.refuse("mlp_bias", "false");
  if (in.flag("rope_interleaved").value_or(false))
    in.refuse("rope_interleaved", "false");
  if (in.number("partial_rotary_factor").value_or(1) != 1)
    in.refuse("partial_rotary_factor", "1 (every dimension of a head is rotated)");
  if (in.has("quantization_config"))
    in.refuse("quantization_config", "none: weights in F32, F16 or BF16 (quantised weights are read from GGUF)");
  const auto layer_types = in.texts("layer_types");
  if (std::any_of(layer_types.begin(), layer_types.end(), [](const auto& t) { return t != "full_attention"; }))
    in.refuse("layer_types", "full_attention in every layer");
  const bool window = in.flag("use_sliding_window").value_or(false) && in.has("sliding_window");
  if (layer_types.empty() && window && in.integer("max_window_layers", 0, most).value_or(28) < layers)
    in.refuse("use_sliding_window", "false");
}

} // namespace

model_config parse_config(std::string_view text, const std::string& source) {
  const json document = formats::parse_json(text, source);
  const formats::json_fields in(document, source);
  const auto [family, score_head] = family_of(in);
  if (score_head)
    want_one_label(in);
  const auto size = [&](const char* key) { return in.required(key, in.integer(key, 1, most), "an integer >= 1"); };
  model_config out;
  out.family = family;
  out.score_head = score_head;
  out.hidden_size = size("hidden_size");
  out.layers = size("num_hidden_layers");
  out.heads = size("num_attention_heads");
  out.ffn_size = size("intermediate_size");
  out.vocab_size = size("vocab_size");
  out.kv_heads = in.integer("num_key_value_heads", 1, most).value_or(out.heads);
  out.head_dim = in.integer("head_dim", 1, most)
                     .value_or(family->default_head_dim > 0 ? family->default_head_dim : out.hidden_size / out.heads);
  out.max_positions = in.integer("max_position_embeddings", 1, most).value_or(family->default_positions);
  out.rms_norm_eps = in.number("rms_norm_eps").value_or(1e-6);
  out.tie_embeddings = in.flag("tie_word_embeddings").value_or(false);
  refuse_unsupported(in, *family, out.layers);

  const bool bias = in.flag("attention_bias").value_or(false);
  const bool always = family->biases == attention_biases::always_qkv;
  out.attention_bias = always || bias;
  out.output_bias = !always && bias;
  out.mlp_bias = in.flag("mlp_bias").value_or(false);

  const rope_settings rope = read_rope_settings(in, out.max_positions);
  out.rope_theta = rope.theta;
  out.scaling = rope.scaling;

  out.bos_id = in.token_id("bos_token_id");
  for (const auto id : in.token_ids("eos_token_id"))
    add_end_token(out, id);
  out.pad_id = in.token_id("pad_token_id");
  check_config(out, source);
  return out;
}

model_config read_config(const std::filesystem::path& path) {
  return parse_config(formats::read_text(path), path.string());
}

void check_config(const model_config& c, const std::string& source) {
  const auto want = [&](bool holds, const char* key, auto found, const std::string& wanted) {
    if (!holds)
      throw input_error(source + ": " + key + ": found " + std::to_string(found) + ", want " + wanted);
  };
  const auto within = [&](const char* key, std::int64_t found, std::int64_t limit) {
    want(found >= 1 && found <= limit, key, found, "1 to " + std::to_string(limit));
  };
  within("hidden_size", c.hidden_size, 1 << 20);
  within("num_hidden_layers", c.layers, 10'000);
  within("num_attention_heads", c.heads, 1 << 16);
  within("num_key_value_heads", c.kv_heads, 1 << 16);
  within("head_dim", c.head_dim, 1 << 14);
  within("intermediate_size", c.ffn_size, 1 << 24);
  within("vocab_size", c.vocab_size, 1 << 26);
  within("max_position_embeddings", c.max_positions, 1 << 21);
  want(c.heads % c.kv_heads == 0, "num_key_value_heads", c.kv_heads,
       "a divisor of num_attention_heads (" + std::to_string(c.heads) + ")");
  want(c.head_dim % 2 == 0, "head_dim", c.head_dim, "an even number");
  want(std::isfinite(c.rope_theta) && c.rope_theta > 0, "rope_theta", c.rope_theta, "a number > 0");
  want(std::isfinite(c.rms_norm_eps) && c.rms_norm_eps > 0, "rms_norm_eps", c.rms_norm_eps, "a number > 0");
  const auto& s = c.scaling;
  want(std::isfinite(s.factor) && s.factor > 0, "rope scaling factor", s.factor, "a number > 0");
  want(s.low_freq_factor > 0, "low_freq_factor", s.low_freq_factor, "a number > 0");
  want(s.high_freq_factor > s.low_freq_factor, "high_freq_factor", s.high_freq_factor,
       "a number > low_freq_factor (" + std::to_string(s.low_freq_factor) + ")");
  if (s.type != rope_scaling::kind::yarn)
    return;
  want(c.rope_theta > 1, "rope_theta", c.rope_theta, "a number > 1 for yarn");
  want(s.beta_fast > 0, "beta_fast", s.beta_fast, "a number > 0");
  want(s.beta_slow > 0, "beta_slow", s.beta_slow, "a number > 0");
  want(std::isfinite(s.attention_factor) && s.attention_factor > 0, "attention_factor", s.attention_factor,
       "a number > 0");
}

std::string config_text(const model_config& c, std::string_view dtype) {
  json out = {{"architectures", {architecture_name(*c.family, c.score_head ? classifier : language_model)}},
              {"model_type", c.family->name},
              {"torch_dtype", dtype},
              {"hidden_act", "silu"},
              {"hidden_size", c.hidden_size},
              {"intermediate_size", c.ffn_size},
              {"num_hidden_layers", c.layers},
              {"num_attention_heads", c.heads},
              {"num_key_value_heads", c.kv_heads},
              {"head_dim", c.head_dim},
              {"vocab_size", c.vocab_size},
              {"max_position_embeddings", c.max_positions},
              {"rms_norm_eps", c.rms_norm_eps},
              {"rope_theta", c.rope_theta},
              {"tie_word_embeddings", c.tie_embeddings}};
  if (c.score_head) {
    out["id2label"] = {{"0", "LABEL_0"}};
    out["label2id"] = {{"LABEL_0", 0}};
  }
  if (c.family->biases == attention_biases::by_key)
    out["attention_bias"] = c.attention_bias;
  if (c.family->mlp_bias_by_key)
    out["mlp_bias"] = c.mlp_bias;
  if (c.scaling.type != rope_scaling::kind::none)
    out["rope_scaling"] = rope_scaling_json(c.scaling);
  if (c.bos_id)
    out["bos_token_id"] = *c.bos_id;
  if (c.pad_id)
    out["pad_token_id"] = *c.pad_id;
  if (c.eos_ids.size() == 1)
    out["eos_token_id"] = c.eos_ids.front();
  else if (!c.eos_ids.empty())
    out["eos_token_id"] = c.eos_ids;
  return out.dump(2) + "\n";
}

} // namespace millrace::model
