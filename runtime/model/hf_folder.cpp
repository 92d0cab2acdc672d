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

#include <map>
#include <memory>
#include <optional>
#include <set>

namespace millrace::model {
namespace fs = std::filesystem;

namespace {

using json = nlohmann::json;

constexpr std::size_t most_name_bytes = 255; // what Linux's file systems take

/// Weights are floating point; anything else under a parameter's name is a mistake.
at::Tensor parameter(const std::string& path, const formats::stored_tensor& stored, std::optional<precision> kept) {
  if (stored.kind != formats::storage::f32 && stored.kind != formats::storage::f16
      && stored.kind != formats::storage::bf16 && stored.kind != formats::storage::f64)
    throw input_error(path + ": tensor " + formats::in_quotes(stored.name) + ": dtype "
                      + std::string(formats::storage_name(stored.kind)) + ", want F32, F16, BF16 or F64");
  return to_floats(stored, kept);
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

constexpr const char* one_file = "model.safetensors";
constexpr const char* index_file = "model.safetensors.index.json";

bool has_weights(const fs::path& folder) {
  return fs::exists(folder / one_file) || fs::exists(folder / index_file);
}

/// The folder's files of weights, opened, and every tensor under the name that the decoder has for it.
class stored_weights {
public:
  explicit stored_weights(const fs::path& folder) {
    const fs::path index = folder / index_file;
    if (fs::exists(index))
      open_shards(folder, index);
    else if (fs::exists(folder / one_file))
      for (const auto& stored : open(folder / one_file).tensors())
        places_.emplace(stored.name, place{(folder / one_file).string(), files_.back().get(), &stored});
    else
      throw input_error(folder.string() + ": has neither " + one_file + " nor " + index_file);
    add_prefix();
  }

  /// Whether the output layer is there beside the embedding and is not the same.
  bool have_own_head() const {
    const auto head = places_.find("lm_head.weight"), embedding = places_.find("model.embed_tokens.weight");
    return head != places_.end() && embedding != places_.end()
           && !at::equal(tensor_at(head->second, precision::float32), tensor_at(embedding->second, precision::float32));
  }

  /// Sorted by name.
  weights read(std::optional<precision> kept) const {
    weights out;
    for (const auto& [name, where] : places_)
      out.push_back({name, tensor_at(where, kept)});
    return out;
  }

  /// The same without values.
  weights shapes() const {
    weights out;
    for (const auto& [name, where] : places_)
      out.push_back({name, shape_alone(*where.stored)});
    return out;
  }

private:
  struct place {
    std::string path;
    const formats::safetensors_file* file;
    const formats::stored_tensor* stored;
  };

  const formats::safetensors_file& open(const fs::path& path) {
    return *files_.emplace_back(std::make_unique<const formats::safetensors_file>(path));
  }

  void open_shards(const fs::path& folder, const fs::path& index) {
    const auto shards = read_index(index);
    if (fs::exists(folder / one_file) && !shards.contains(one_file))
      throw input_error(folder.string() + ": holds " + one_file + " and, for other files, " + index_file
                        + ", want one of the two");
    for (const auto& [shard, names] : shards) {
      const fs::path path = folder / shard;
      if (!fs::exists(path))
        throw input_error(index.string() + ": names " + formats::in_quotes(shard) + ", which is missing");
      const auto& file = open(path);
      for (const auto& name : names) {
        const formats::stored_tensor* stored = file.find(name);
        if (stored == nullptr)
          throw input_error(index.string() + ": says that " + formats::in_quotes(name) + " lies in "
                            + formats::in_quotes(shard) + ", which has none of that name");
        places_.emplace(name, place{path.string(), &file, stored});
      }
      for (const auto& stored : file.tensors())
        if (!names.contains(stored.name))
          throw input_error(path.string() + ": tensor " + formats::in_quotes(stored.name)
                            + ": the index does not say it lies here");
    }
  }

  /// A decoder that was saved without its head names its tensors without "model.".
  void add_prefix() {
    if (!places_.contains("embed_tokens.weight") || places_.contains("model.embed_tokens.weight"))
      return;
    std::map<std::string, place> named;
    for (auto& [name, where] : places_)
      named.emplace((name == "lm_head.weight" || name == "score.weight" ? "" : "model.") + name, std::move(where));
    places_ = std::move(named);
  }

  static at::Tensor tensor_at(const place& where, std::optional<precision> kept) {
    at::Tensor read = parameter(where.path, *where.stored, kept);
    where.file->let_go(*where.stored);
    return read;
  }

  std::vector<std::unique_ptr<const formats::safetensors_file>> files_;
  std::map<std::string, place> places_;
};

/// The template that is meant unless another is asked for: the text, or the one called "default" of several.
/// @returns "" for none
std::string default_template(const json& value) {
  if (value.is_string())
    return value.get<std::string>();
  if (const auto found = value.is_object() ? value.find("default") : value.end(); found != value.end())
    return found->is_string() ? found->get<std::string>() : "";
  if (value.is_array())
    for (const auto& one : value)
      if (one.is_object() && one.value("name", json()) == "default")
        return default_template(one.value("template", json()));
  return "";
}

/// The token that tokenizer_config.json names under `key`, as text or as an object with its text.
std::optional<std::int32_t> named_token(const formats::json_fields& in, const json& document, const char* key,
                                        const text::tokenizer_data& data) {
  if (!in.has(key))
    return std::nullopt;
  const json& value = document[key];
  const json text = value.is_object() ? value.value("content", json()) : value;
  if (!text.is_string())
    in.refuse(key, "a token's text, or an object with it under \"content\"");
  return text::token_id(data, text.get_ref<const std::string&>());
}

void read_tokenizer(const fs::path& folder, checkpoint& out) {
  const fs::path settings = folder / "tokenizer_config.json";
  json document = json::object();
  if (fs::exists(settings)) {
    out.tokenizer_config = formats::read_text(settings);
    document = formats::parse_json(out.tokenizer_config, settings.string());
  }
  const formats::json_fields in(document, settings.string());
  if (fs::exists(folder / "chat_template.jinja"))
    out.chat_source = formats::read_text(folder / "chat_template.jinja");
  else if (in.has("chat_template"))
    out.chat_source = default_template(document["chat_template"]);
  if (!fs::exists(folder / "tokenizer.json"))
    return;
  text::tokenizer_data data = text::read_tokenizer_json(folder / "tokenizer.json");
  const auto named = [&](const char* key) { return named_token(in, document, key, data); };
  const auto bos = named("bos_token"), eos = named("eos_token"), pad = named("pad_token");
  data.bos = bos ? bos : out.config.bos_id;
  data.pad = pad ? pad : out.config.pad_id;
  if (eos)
    add_end_token(out.config, *eos);
  data.eos = eos || out.config.eos_ids.empty() ? eos : out.config.eos_ids.front();
  out.tok = std::make_shared<const text::tokenizer>(std::move(data));
}

} // namespace

weights read_hf_weights(const fs::path& folder, precision kept) {
  return stored_weights(folder).read(kept);
}

checkpoint load_hf_folder(const fs::path& folder, load_options options) {
  if (!fs::exists(folder / "config.json"))
    throw input_error(folder.string() + ": has no config.json: not a model's folder"
                      + (fs::exists(folder / "model" / "config.json")
                             ? ", want the one of this checkpoint: " + (folder / "model").string()
                             : ""));
  if (fs::exists(folder / "adapter_config.json"))
    throw input_error(folder.string()
                      + ": holds adapter_config.json beside config.json, want the adapter in a folder of "
                        "its own: transformers would answer with it, and this program without it");
  checkpoint out;
  out.origin = folder.string();
  out.config = read_config(folder / "config.json");
  if (fs::exists(folder / "generation_config.json"))
    out.generation = text::read_generation_config(folder / "generation_config.json");
  for (const auto id : out.generation.eos_ids)
    add_end_token(out.config, id);
  read_tokenizer(folder, out);
  if (!options.weights && !options.shapes && !(out.config.tie_embeddings && has_weights(folder)))
    return out;
  const stored_weights stored(folder);
  // As transformers does: a tied head that is in the file and differs from the embedding is not tied.
  out.config.tie_embeddings = out.config.tie_embeddings && !stored.have_own_head();
  if (!options.weights && !options.shapes)
    return out;
  out.parameters = options.weights ? stored.read(options.kept) : stored.shapes();
  // Old exports keep a second copy of the tied head and buffers that are computed anyway.
  const bool no_head = out.config.tie_embeddings || out.config.score_head;
  std::erase_if(out.parameters, [&](const named_tensor& p) {
    return p.name.ends_with(".rotary_emb.inv_freq") || (no_head && p.name == "lm_head.weight");
  });
  return out;
}

} // namespace millrace::model
