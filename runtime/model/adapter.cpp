#include "runtime/model/adapter.hpp"

#include "kernels/low_rank_sum.hpp"
#include "runtime/formats/durable_write.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/formats/safetensors.hpp"
#include "runtime/formats/strict_json.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/model/weights_file.hpp"
#include "runtime/text/pattern.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/ATen.h>
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>

namespace millrace::model {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view weight_end = ".weight", a_end = ".lora_A.weight", b_end = ".lora_B.weight";
constexpr std::string_view peft_prefix = "base_model.model.";
constexpr const char* adapter_config_file = "adapter_config.json";
constexpr const char* adapter_weights_file = "adapter_model.safetensors";

std::string without_end(const std::string& name, std::string_view end) {
  return name.substr(0, name.size() - end.size());
}

std::string last_part(const std::string& layer) {
  return layer.substr(layer.rfind('.') + 1);
}

/// `model.layers.0.self_attn.q_proj` of its weight's name; "" for what is no linear layer of a block.
std::string layer_of(const named_tensor& parameter) {
  const bool linear = parameter.tensor.dim() == 2 && parameter.name.starts_with("model.layers.")
                      && parameter.name.ends_with("_proj.weight");
  return linear ? without_end(parameter.name, weight_end) : std::string();
}

struct halves {
  at::Tensor a, b;
};

std::map<std::string, halves> by_layer(const adapter& a) {
  std::map<std::string, halves> layers;
  for (const auto& [name, tensor] : a.parameters)
    if (name.ends_with(a_end))
      layers[without_end(name, a_end)].a = tensor;
    else
      layers[without_end(name, b_end)].b = tensor;
  return layers;
}

std::string shape_of(const at::Tensor& tensor) {
  std::string words;
  if (tensor.defined())
    for (const auto size : tensor.sizes())
      words += (words.empty() ? "[" : ", ") + std::to_string(size);
  return words.empty() ? "missing" : words + "]";
}

void sort_by_name(weights& parameters) {
  std::sort(parameters.begin(), parameters.end(), [](const auto& x, const auto& y) { return x.name < y.name; });
}

/// As PEFT's `target_modules`: the layers' last names where they say it all, else whole names.
ordered_json target_modules(const adapter& a, const weights& base) {
  std::set<std::string> layers, ends;
  for (const auto& [layer, both] : by_layer(a)) {
    layers.insert(layer);
    ends.insert(last_part(layer));
  }
  const bool all = std::all_of(base.begin(), base.end(), [&](const auto& parameter) {
    const std::string layer = layer_of(parameter);
    return layer.empty() || !ends.contains(last_part(layer)) || layers.contains(layer);
  });
  return all ? ordered_json(ends) : ordered_json(layers);
}

/// Keys whose value does not change what a trained adapter computes: what it is called, where it came from, how it was
/// trained, and which layers it has, which its file of weights says too. `r` and `lora_alpha` are read.
constexpr std::array without_effect{"peft_type",
                                    "task_type",
                                    "auto_mapping",
                                    "peft_version",
                                    "base_model_name_or_path",
                                    "revision",
                                    "inference_mode",
                                    "r",
                                    "lora_alpha",
                                    "lora_dropout",
                                    "target_modules",
                                    "exclude_modules",
                                    "layers_to_transform",
                                    "layers_pattern",
                                    "megatron_core",
                                    "qalora_group_size",
                                    "loftq_config",
                                    "eva_config",
                                    "corda_config",
                                    "lora_ga_config",
                                    "runtime_config"};

/// How the halves began. The other ways of PEFT (PiSSA, OLoRA, LoftQ, ...) change the model's own weights too.
bool begins_beside_the_base(const ordered_json& way) {
  return way.is_null() || way.is_boolean() || way == "gaussian" || way == "orthogonal" || way == "eva";
}

/// @throws input_error if the configuration asks for what is not computed here, under a key that is known or not
void check_adapter_config(const ordered_json& config, const std::string& file) {
  const auto refuse = [&](const std::string& key, const ordered_json& value) {
    throw input_error(file + ": found " + formats::printable(key) + ' '
                      + formats::printable(value.dump(-1, ' ', false, ordered_json::error_handler_t::replace))
                      + ", want plain LoRA");
  };
  if (const auto type = config.value("peft_type", ordered_json("LORA")); type != "LORA")
    refuse("peft_type", type);
  for (const auto& [key, value] : config.items()) {
    if (std::ranges::find(without_effect, key) != without_effect.end())
      continue;
    const bool plain = key == "bias"                ? value == "none"
                       : key == "init_lora_weights" ? begins_beside_the_base(value)
                                                    : value.is_null() || value == false || value.empty();
    if (!plain)
      refuse(key, value);
  }
}

ordered_json read_adapter_config(const std::filesystem::path& path) {
  if (!std::filesystem::exists(path))
    throw input_error(path.string() + ": cannot be opened, want an adapter as PEFT writes it");
  const auto config = formats::parse_json<ordered_json>(formats::read_text(path), path.string());
  if (!config.is_object())
    throw input_error(path.string() + ": not a JSON object");
  return config;
}

} // namespace

adapter new_adapter(const weights& base, std::int64_t rank, double alpha, std::string_view targets,
                    std::uint64_t seed) {
  const text::pattern wanted(targets, "lora.targets");
  text::pattern::workspace own;
  auto generator = at::detail::createCPUGenerator(seed);
  adapter out{rank, alpha, {}, {}};
  for (const auto& parameter : base) {
    const std::string layer = layer_of(parameter);
    if (layer.empty() || !wanted.find(layer, 0, own))
      continue;
    const std::int64_t rows = parameter.tensor.size(0), columns = parameter.tensor.size(1);
    const double bound = 1 / std::sqrt(static_cast<double>(columns));
    out.parameters.push_back(
        {std::string(layer).append(a_end), at::empty({rank, columns}, at::kFloat).uniform_(-bound, bound, generator)});
    out.parameters.push_back({std::string(layer).append(b_end), at::zeros({rows, rank}, at::kFloat)});
  }
  if (out.parameters.empty())
    throw input_error(std::string("lora.targets: found \"").append(targets)
                      + "\", which matches no linear layer; their names are like "
                        "\"model.layers.0.self_attn.q_proj\"");
  sort_by_name(out.parameters);
  return out;
}

adapter load_adapter(const std::filesystem::path& folder) {
  const auto config_path = folder / adapter_config_file, path = folder / adapter_weights_file;
  const ordered_json config = read_adapter_config(config_path);
  check_adapter_config(config, config_path.string());
  adapter out;
  const auto rank = config.value("r", ordered_json()), alpha = config.value("lora_alpha", ordered_json());
  if (!rank.is_number_integer() || rank.get<std::int64_t>() < 1 || !alpha.is_number())
    throw input_error(config_path.string() + ": found r " + rank.dump() + " and lora_alpha " + alpha.dump()
                      + ", want an integer from 1 and a number");
  out.rank = rank.get<std::int64_t>();
  out.alpha = alpha.get<double>();
  if (const auto base = config.value("base_model_name_or_path", ordered_json()); base.is_string())
    out.base_path = base.get<std::string>();
  const formats::safetensors_file file(path);
  for (const auto& stored : file.tensors()) {
    std::string name(stored.name);
    if (name.starts_with(peft_prefix))
      name.erase(0, peft_prefix.size());
    if (!name.ends_with(a_end) && !name.ends_with(b_end))
      throw input_error(path.string() + ": found tensor '" + name
                        + "', want halves of adapters, .lora_A.weight and .lora_B.weight");
    out.parameters.push_back({std::move(name), to_float32(stored)});
  }
  for (const auto& [layer, both] : by_layer(out))
    if (!both.a.defined() || !both.b.defined() || both.a.dim() != 2 || both.b.dim() != 2 || both.a.size(0) != out.rank
        || both.b.size(1) != out.rank)
      throw input_error(path.string() + ": the halves of '" + layer + "' are not [" + std::to_string(out.rank)
                        + ", in] and [out, " + std::to_string(out.rank) + "]");
  if (out.parameters.empty())
    throw input_error(path.string() + ": holds no adapter");
  sort_by_name(out.parameters);
  return out;
}

void write_adapter_files(const std::filesystem::path& folder, const adapter& a, const weights& base) {
  weights named;
  for (const auto& [name, tensor] : a.parameters)
    named.push_back({std::string(peft_prefix) + name, tensor.detach().cpu()});
  write_safetensors(folder / adapter_weights_file, named);
  const ordered_json config{{"peft_type", "LORA"},
                            {"task_type", "CAUSAL_LM"},
                            {"base_model_name_or_path", a.base_path},
                            {"r", a.rank},
                            {"lora_alpha", a.alpha},
                            {"lora_dropout", 0.0},
                            {"target_modules", target_modules(a, base)},
                            {"bias", "none"},
                            {"fan_in_fan_out", false},
                            {"inference_mode", true}};
  formats::new_file file(folder / adapter_config_file);
  file.write(config.dump(2) + '\n');
  file.finish();
}

void adapt(decoder& model, const adapter& a) {
  for (const auto& [layer, both] : by_layer(a)) {
    linear_weight* w = model.linear_named(layer);
    if (!w)
      throw input_error("adapter of '" + layer + "': the model has no linear layer of that name");
    if (both.a.size(1) != w->weight.size(1) || both.b.size(0) != w->weight.size(0))
      throw input_error("adapter of '" + layer + "': [" + std::to_string(both.b.size(0)) + ", "
                        + std::to_string(both.a.size(1)) + "], want [" + std::to_string(w->weight.size(0)) + ", "
                        + std::to_string(w->weight.size(1)) + "]");
    w->low_rank_a = both.a;
    w->low_rank_b = both.b;
    w->low_rank_scale = a.scale();
  }
}

at::Tensor low_rank_sum(const at::Tensor& w, const at::Tensor& b, const at::Tensor& a) {
  at::Tensor sum = w.to(at::kDouble, false, true); // a product of two floats is exact in it, fused with the sum or not
  for (std::int64_t r = 0; r < a.size(0); ++r)
    sum.addcmul_(b.narrow(1, r, 1).to(at::kDouble), a.narrow(0, r, 1).to(at::kDouble));
  return sum.to(at::kFloat);
}

namespace {

/// The layer with its adapter.
at::Tensor merged_layer(const at::Tensor& base, const halves& both, double scale) {
  const at::Tensor w = widened(base.detach()).contiguous(), a = both.a.detach().to(w.device()).contiguous();
  const at::Tensor b = both.b.detach().to(w.device(), at::kDouble).mul(scale).to(at::kFloat).contiguous();
  if (!w.is_cpu())
    return low_rank_sum(w, b, a);
  at::Tensor sum = at::empty_like(w);
  const std::int64_t columns = w.size(1), rank = a.size(0);
  at::parallel_for(0, w.size(0), 16, [&](std::int64_t begin, std::int64_t end) {
    kernels::low_rank_sum({.w = w.const_data_ptr<float>() + begin * columns,
                           .b = b.const_data_ptr<float>() + begin * rank,
                           .a = a.const_data_ptr<float>(),
                           .y = sum.mutable_data_ptr<float>() + begin * columns,
                           .rows = end - begin,
                           .columns = columns,
                           .rank = rank});
  });
  return sum;
}

/// @throws input_error
void check_fits(const std::string& layer, const halves& both, const at::Tensor& weight) {
  if (!both.a.defined() || !both.b.defined() || both.a.dim() != 2 || both.b.dim() != 2 || weight.dim() != 2
      || both.a.size(1) != weight.size(1) || both.b.size(0) != weight.size(0) || both.a.size(0) != both.b.size(1))
    throw input_error("adapter of '" + layer + "': its halves are " + shape_of(both.a) + " and " + shape_of(both.b)
                      + ", the base has " + shape_of(weight));
}

} // namespace

void merge(const weights& base, const adapter& a,
           const std::function<void(const std::string& name, const at::Tensor& now)>& take) {
  const at::NoGradGuard no_grad;
  const auto layers = by_layer(a);
  const auto half_of = [&](const std::string& name) {
    return name.ends_with(weight_end) ? layers.find(without_end(name, weight_end)) : layers.end();
  };
  std::set<std::string> missing;
  for (const auto& [layer, both] : layers)
    missing.insert(layer);
  for (const auto& [name, tensor] : base)
    if (const auto found = half_of(name); found != layers.end()) {
      check_fits(found->first, found->second, tensor);
      missing.erase(found->first);
    }
  if (!missing.empty())
    throw input_error("adapter of '" + *missing.begin() + "': the base has no linear layer of that name");
  for (const auto& [name, tensor] : base) {
    const auto found = half_of(name);
    take(name, found == layers.end() ? tensor.detach() : merged_layer(tensor, found->second, a.scale()));
  }
}

weights merged(const weights& base, const adapter& a) {
  weights out;
  merge(base, a, [&](const std::string& name, const at::Tensor& now) { out.push_back({name, now}); });
  return out;
}

} // namespace millrace::model
