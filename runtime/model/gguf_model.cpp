#include "runtime/model/gguf_model.hpp"

#include "runtime/formats/quoted.hpp"
#include "runtime/model/config_json.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/text/tokenizer_gguf.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>
#include <numbers>

namespace millrace::model {
namespace {

[[noreturn]] void refuse(const formats::gguf_file& file, const std::string& key, const std::string& found,
                         const std::string& want) {
  throw input_error(file.path() + ": " + key + ": found " + found + ", want " + want);
}

const model_family& family_of(const formats::gguf_file& file) {
  const std::string* name = file.text("general.architecture");
  if (const auto* found = name == nullptr ? nullptr : find_family(*name))
    return *found;
  refuse(file, "general.architecture", name == nullptr ? "nothing" : formats::in_quotes(*name),
         any_family([](const model_family& known) { return std::string(known.name); }));
}

std::int64_t positive(const formats::gguf_file& file, const std::string& key,
                      std::optional<std::int64_t> fallback = {}) {
  const auto found = file.integer(key);
  if (!found && fallback)
    return *fallback;
  if (!found || *found < 1)
    refuse(file, key, found ? std::to_string(*found) : "nothing", "an integer >= 1");
  return *found;
}

/// The decimal number with the fewest digits that is this fp32 value: 1e-5 again, not 9.99999974e-06.
double shortest(double fp32) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, static_cast<float>(fp32)).ptr;
  double out = fp32;
  std::from_chars(text, end, out);
  return out;
}

std::optional<std::int32_t> token_id(const formats::gguf_file& file, const std::string& key) {
  const auto found = file.integer(key);
  if (!found || *found == -1 || *found == std::numeric_limits<std::uint32_t>::max())
    return std::nullopt;
  if (*found < 0 || *found > std::numeric_limits<std::int32_t>::max())
    refuse(file, key, std::to_string(*found), "a token id");
  return static_cast<std::int32_t>(*found);
}

/// By what llama3 scaling divides each rotary frequency; see `rope_freqs.weight` of llama.cpp's converter.
std::vector<double> llama3_divisors(const model_config& config, const rope_scaling& s) {
  std::vector<double> out;
  for (std::int64_t i = 0; i < config.head_dim / 2; ++i) {
    const double frequency =
        std::pow(config.rope_theta, -2.0 * static_cast<double>(i) / static_cast<double>(config.head_dim));
    const double turns = static_cast<double>(s.original_context) * frequency / (2 * std::numbers::pi);
    const double smooth = (turns - s.low_freq_factor) / (s.high_freq_factor - s.low_freq_factor);
    out.push_back(smooth > 1 ? 1 : smooth < 0 ? s.factor : 1 / ((1 - smooth) / s.factor + smooth));
  }
  return out;
}

/// A GGUF keeps only the divisors of llama3 scaling. Every published Llama 3 has the low and high factors 1 and 4 and
/// the original context 8192, and its largest divisor is the factor: the scaling that gives these divisors is it.
rope_scaling scaling_from_divisors(const formats::gguf_file& file, const model_config& config,
                                   const formats::stored_tensor& stored) {
  const at::Tensor divisors = to_float32(stored);
  const std::string key = "rope_freqs.weight";
  if (divisors.dim() != 1 || divisors.size(0) != config.head_dim / 2)
    refuse(file, key, std::to_string(divisors.numel()) + " divisors", std::to_string(config.head_dim / 2));
  rope_scaling out;
  out.type = rope_scaling::kind::llama3;
  out.factor = divisors.max().item<double>();
  out.low_freq_factor = 1;
  out.high_freq_factor = 4;
  out.original_context =
      file.integer(std::string(config.family->name) + ".rope.scaling.original_context_length").value_or(8192);
  const auto want = llama3_divisors(config, out);
  const float* found = divisors.const_data_ptr<float>();
  for (std::size_t i = 0; i < want.size(); ++i)
    if (!(std::abs(found[i] - want[i]) <= 1e-4 * want[i]))
      refuse(file, key, "other divisors",
             "those of llama3 scaling with factors 1 and 4 and original context "
                 + std::to_string(out.original_context));
  return out;
}

rope_scaling scaling_of(const formats::gguf_file& file, const model_config& config, const std::string& arch) {
  if (const auto* divisors = file.find("rope_freqs.weight"))
    return scaling_from_divisors(file, config, *divisors);
  const std::string key = arch + ".rope.scaling.";
  rope_scaling out;
  const std::string* type = file.text(key + "type");
  if (type == nullptr || *type == "none")
    return out;
  if (*type != "linear")
    refuse(file, key + "type", formats::in_quotes(*type), "none or linear");
  out.type = rope_scaling::kind::linear;
  out.factor = file.number(key + "factor").value_or(0);
  return out;
}

/// @returns "" for a tensor that has no place in the family
std::string parameter_name(const model_family& family, std::string_view name) {
  for (const auto& known : family.outer_names)
    if (known.gguf == name)
      return std::string(known.parameter);
  if (!name.starts_with("blk."))
    return "";
  name.remove_prefix(4);
  const auto dot = name.find('.');
  const auto last = name.rfind('.');
  if (dot == std::string_view::npos || dot == last)
    return "";
  const auto block = name.substr(0, dot), kind = name.substr(last + 1);
  const bool number = !block.empty() && block.size() <= 5
                      && std::all_of(block.begin(), block.end(), [](char c) { return c >= '0' && c <= '9'; });
  if (!number || (kind != "weight" && kind != "bias"))
    return "";
  for (const auto& known : family.block_names)
    if (known.gguf == name.substr(dot + 1, last - dot - 1))
      return "model.layers." + std::string(block) + "." + std::string(known.parameter) + "." + std::string(kind);
  return "";
}

/// Rows (2 i, 2 i + 1) of each head are the first and second member of pair i: puts the first members before the
/// second.
at::Tensor in_halves(const at::Tensor& rows, std::int64_t heads, std::int64_t head_dim) {
  std::vector<std::int64_t> split{heads, head_dim / 2, 2};
  split.insert(split.end(), rows.sizes().begin() + 1, rows.sizes().end());
  return rows.reshape(split).transpose(1, 2).reshape(rows.sizes()).contiguous();
}

text::gguf_vocabulary vocabulary_of(const formats::gguf_file& file) {
  const std::string key = "tokenizer.ggml.";
  const auto text = [&](const std::string& name) {
    const std::string* found = file.text(key + name);
    return found == nullptr ? std::string() : *found;
  };
  text::gguf_vocabulary out;
  out.origin = file.path();
  out.model = text("model");
  out.pre = text("pre");
  if (const auto* tokens = file.texts(key + "tokens"))
    out.tokens = *tokens;
  if (const auto* types = file.integers(key + "token_type"))
    for (const auto type : *types)
      out.token_types.push_back(type < 0 || type > 6 ? 0 : static_cast<std::int32_t>(type));
  if (const auto* merges = file.texts(key + "merges"))
    out.merges = *merges;
  out.bos = token_id(file, key + "bos_token_id");
  out.eos = token_id(file, key + "eos_token_id");
  out.pad = token_id(file, key + "padding_token_id");
  out.unknown = token_id(file, key + "unknown_token_id");
  out.add_bos = file.flag(key + "add_bos_token").value_or(false);
  return out;
}

} // namespace

model_config gguf_config(const formats::gguf_file& file) {
  model_config out;
  out.family = &family_of(file);
  const std::string arch(out.family->name);
  const std::string at = arch + ".";
  const formats::stored_tensor* embedding = file.find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2)
    refuse(file, "token_embd.weight", "no matrix", "the embedding [vocabulary, hidden]");
  if (file.integer(at + "expert_count").value_or(0) > 0)
    refuse(file, at + "expert_count", "experts", "a dense model");
  if (file.integer(at + "attention.sliding_window").value_or(0) > 0)
    refuse(file, at + "attention.sliding_window", "a window", "none");
  out.hidden_size = positive(file, at + "embedding_length");
  out.layers = positive(file, at + "block_count");
  out.heads = positive(file, at + "attention.head_count");
  out.kv_heads = positive(file, at + "attention.head_count_kv", out.heads);
  out.head_dim = positive(file, at + "attention.key_length", out.hidden_size / out.heads);
  if (positive(file, at + "attention.value_length", out.head_dim) != out.head_dim)
    refuse(file, at + "attention.value_length", "another size", "attention.key_length");
  if (positive(file, at + "rope.dimension_count", out.head_dim) != out.head_dim)
    refuse(file, at + "rope.dimension_count", "another size", "every dimension of a head");
  out.ffn_size = positive(file, at + "feed_forward_length");
  out.vocab_size = embedding->shape[0];
  out.max_positions = positive(file, at + "context_length");
  out.rope_theta = file.number(at + "rope.freq_base").value_or(10000);
  const auto eps = file.number(at + "attention.layer_norm_rms_epsilon");
  if (!eps)
    refuse(file, at + "attention.layer_norm_rms_epsilon", "nothing", "a number > 0");
  out.rms_norm_eps = shortest(*eps);
  out.tie_embeddings = file.find("output.weight") == nullptr;
  out.attention_bias = file.find("blk.0.attn_q.bias") != nullptr;
  out.output_bias = file.find("blk.0.attn_output.bias") != nullptr;
  out.mlp_bias = file.find("blk.0.ffn_gate.bias") != nullptr;
  out.bos_id = token_id(file, "tokenizer.ggml.bos_token_id");
  out.pad_id = token_id(file, "tokenizer.ggml.padding_token_id");
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"})
    if (const auto id = token_id(file, key))
      add_end_token(out, *id);
  check_config(out, file.path());
  out.scaling = scaling_of(file, out, arch);
  check_config(out, file.path());
  return out;
}

weights gguf_weights(const formats::gguf_file& file, const model_config& config,
                     const std::function<at::Tensor(const formats::stored_tensor&)>& read) {
  weights out;
  for (const auto& stored : file.tensors()) {
    if (stored.name == "rope_freqs.weight")
      continue;
    const std::string name = parameter_name(*config.family, stored.name);
    if (name.empty())
      throw input_error(file.path() + ": tensor " + formats::in_quotes(stored.name)
                        + ": this architecture has none of that name");
    at::Tensor tensor = read(stored);
    const bool query = name.find(".q_proj.") != std::string::npos;
    if (config.family->gguf_interleaves_heads && (query || name.find(".k_proj.") != std::string::npos)) {
      const std::int64_t heads = query ? config.heads : config.kv_heads;
      if (tensor.dim() < 1 || tensor.size(0) != heads * config.head_dim)
        throw input_error(file.path() + ": tensor " + formats::in_quotes(stored.name) + ": want "
                          + std::to_string(heads * config.head_dim) + " rows");
      tensor = in_halves(tensor, heads, config.head_dim);
    }
    out.push_back({name, std::move(tensor)});
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

checkpoint load_gguf(const std::filesystem::path& path, load_options options) {
  const formats::gguf_file file(path);
  checkpoint out;
  out.origin = file.path();
  out.config = gguf_config(file);
  out.generation.bos_id = out.config.bos_id;
  out.generation.pad_id = out.config.pad_id;
  if (file.value("tokenizer.ggml.model") != nullptr)
    out.tok = std::make_shared<const text::tokenizer>(text::tokenizer_from_gguf(vocabulary_of(file)));
  if (const std::string* source = file.text("tokenizer.chat_template"))
    out.chat_source = *source;
  const auto values = [&](const formats::stored_tensor& stored) {
    if (!options.weights)
      return shape_alone(stored);
    at::Tensor read = to_floats(stored, options.kept);
    file.let_go(stored);
    return read;
  };
  if (options.weights || options.shapes)
    out.parameters = gguf_weights(file, out.config, values);
  return out;
}

} // namespace millrace::model
