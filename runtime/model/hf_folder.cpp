#include "runtime/model/hf_folder.hpp"

#include "runtime/formats/json_fields.hpp"
#include "runtime/formats/quoted.hpp"
#include "runtime/formats/safetensors.hpp"
#include "runtime/formats/strict_json.hpp"
#include "runtime/model/config_json.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/text/tokenizer_json.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>
#include <set>

namespace millrace::model {
namespace fs = std::filesystem;

namespace {

using json = nlohmann::json;

constexpr std::size_t most_name_bytes = 255; // what Linux's file systems take

/// Weights are floating point; anything else under a parameter's name is a mistake.
at::Tensor parameter(const std::string& path, const formats::stored_tensor& stored) {
  if (stored.kind != formats::storage::f32 && stored.kind != formats::storage::f16
      && stored.kind != formats::storage::bf16 && stored.kind != formats::storage::f64)
    throw input_error(path + ": tensor " + formats::in_quotes(stored.name) + ": dtype "
                      + std::string(formats::storage_name(stored.kind)) + ", want F32, F16, BF16 or F64");
  return to_float32(stored);
}

/// Shard -> the tensors that the index says lie in it.
std::map<std::string, std::set<std::string>> read_index(const fs::path& path) {
  const json document = formats::read_json(path);
  const auto map = document.is_object() ? document.find("weight_map") : document.end();
  if (map == document.end() || !map->is_object() || map->empty())
    throw input_error(path.string() + ": weight_map: want an object of tensor name -> file name");
  std::map<std::string, std::set<std::string>> out;
  for (const auto& [name, shard] : map->items()) {
    const std::string file = shard.is_string() ? shard.get<std::string>() : "";
    const bool plain = file.size() <= most_name_bytes && file.find('/') == std::string::npos
                       && file.find('\0') == std::string::npos && file.ends_with(".safetensors");
    if (!plain)
      throw input_error(path.string() + ": weight_map: " + formats::in_quotes(name) + ": found "
                        + (shard.is_string() ? formats::in_quotes(file) : "no string")
                        + ", want the name of a .safetensors file in this folder");
    out[file].insert(name);
  }
  return out;
}

weights read_shards(const fs::path& folder) {
  const fs::path index = folder / "model.safetensors.index.json";
  weights out;
  for (const auto& [shard, names] : read_index(index)) {
    const fs::path path = folder / shard;
    if (!fs::exists(path))
      throw input_error(index.string() + ": names " + formats::in_quotes(shard) + ", which is missing");
    const formats::safetensors_file file(path);
    for (const auto& name : names) {
      const formats::stored_tensor* stored = file.find(name);
      if (stored == nullptr)
        throw input_error(index.string() + ": says that " + formats::in_quotes(name) + " lies in "
                          + formats::in_quotes(shard) + ", which has none of that name");
      out.push_back({name, parameter(path.string(), *stored)});
    }
    for (const auto& stored : file.tensors())
      if (!names.contains(stored.name))
        throw input_error(path.string() + ": tensor " + formats::in_quotes(stored.name)
                          + ": the index does not say it lies here");
  }
  return out;
}

weights read_one_file(const fs::path& path) {
  const formats::safetensors_file file(path);
  weights out;
  for (const auto& stored : file.tensors())
    out.push_back({stored.name, parameter(path.string(), stored)});
  return out;
}

void read_tokenizer(const fs::path& folder, checkpoint& out) {
  if (fs::exists(folder / "tokenizer_config.json"))
    out.tokenizer_config = formats::read_text(folder / "tokenizer_config.json");
  if (fs::exists(folder / "chat_template.jinja")) {
    out.chat_source = formats::read_text(folder / "chat_template.jinja");
  } else if (!out.tokenizer_config.empty()) {
    const std::string source = (folder / "tokenizer_config.json").string();
    const json document = formats::parse_json(out.tokenizer_config, source);
    const formats::json_fields in(document, source);
    if (in.has("chat_template") && document["chat_template"].is_string())
      out.chat_source = *in.text("chat_template");
  }
  if (!fs::exists(folder / "tokenizer.json"))
    return;
  text::tokenizer_data data = text::read_tokenizer_json(folder / "tokenizer.json");
  data.bos = out.config.bos_id;
  data.pad = out.config.pad_id;
  if (!out.config.eos_ids.empty())
    data.eos = out.config.eos_ids.front();
  out.tok = std::make_shared<const text::tokenizer>(std::move(data));
}

} // namespace

weights read_hf_weights(const fs::path& folder) {
  weights out;
  if (fs::exists(folder / "model.safetensors.index.json"))
    out = read_shards(folder);
  else if (fs::exists(folder / "model.safetensors"))
    out = read_one_file(folder / "model.safetensors");
  else
    throw input_error(folder.string() + ": has neither model.safetensors nor model.safetensors.index.json");
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

checkpoint load_hf_folder(const fs::path& folder, load_options options) {
  if (!fs::exists(folder / "config.json"))
    throw input_error(folder.string() + ": has no config.json: not a model's folder");
  checkpoint out;
  out.origin = folder.string();
  out.config = read_config(folder / "config.json");
  if (fs::exists(folder / "generation_config.json"))
    out.generation = text::read_generation_config(folder / "generation_config.json");
  for (const auto id : out.generation.eos_ids)
    if (std::find(out.config.eos_ids.begin(), out.config.eos_ids.end(), id) == out.config.eos_ids.end())
      out.config.eos_ids.push_back(id);
  out.generation.eos_ids = out.config.eos_ids;
  read_tokenizer(folder, out);
  if (!options.weights)
    return out;
  out.parameters = read_hf_weights(folder);
  // Old exports keep a second copy of the tied head and buffers that are computed anyway.
  std::erase_if(out.parameters, [&](const named_tensor& p) {
    return p.name.ends_with(".rotary_emb.inv_freq") || (out.config.tie_embeddings && p.name == "lm_head.weight");
  });
  return out;
}

} // namespace millrace::model
