#include "runtime/model/checkpoint.hpp"

#include "runtime/formats/durable_write.hpp"
#include "runtime/model/config_json.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/model/gguf_model.hpp"
#include "runtime/model/hf_folder.hpp"
#include "runtime/text/tokenizer_json.hpp"
#include "runtime/words/enum_words.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <span>

namespace millrace::model {
namespace fs = std::filesystem;

namespace {

using json = nlohmann::json;

constexpr char weights_file[] = "model.safetensors";

/// Consecutive parameters, each shard as full as `shard_bytes` allows and never empty.
std::vector<std::span<const named_tensor>> cut_into_shards(const weights& parameters, std::int64_t element_bytes,
                                                           std::int64_t shard_bytes) {
  std::vector<std::span<const named_tensor>> out;
  std::size_t start = 0;
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const std::int64_t more = parameters[i].tensor.numel() * element_bytes;
    if (i > start && bytes + more > shard_bytes) {
      out.push_back(std::span(parameters).subspan(start, i - start));
      start = i;
      bytes = 0;
    }
    bytes += more;
  }
  out.push_back(std::span(parameters).subspan(start));
  return out;
}

void write_weights(const fs::path& folder, const weights& parameters, const save_options& options) {
  const std::int64_t element_bytes = bytes_a_number(options.kept);
  const auto shards = cut_into_shards(parameters, element_bytes, options.shard_bytes);
  if (shards.size() == 1) {
    write_safetensors(folder / weights_file, parameters, options.kept);
    return;
  }
  json map = json::object();
  std::int64_t total = 0;
  for (std::size_t i = 0; i < shards.size(); ++i) {
    char name[64];
    std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, shards.size());
    write_safetensors(folder / name, shards[i], options.kept);
    for (const auto& parameter : shards[i]) {
      map[parameter.name] = name;
      total += parameter.tensor.numel() * element_bytes;
    }
  }
  const json index = {{"metadata", {{"total_size", total}}}, {"weight_map", std::move(map)}};
  formats::write_new_file(folder / "model.safetensors.index.json", index.dump(2) + "\n");
}

/// The token as a template or tokenizer_config.json writes it.
std::string token_text(const text::tokenizer_data& data, std::int32_t id) {
  for (const auto& token : data.added)
    if (token.id == id)
      return token.content;
  const auto at = static_cast<std::size_t>(id);
  return id >= 0 && at < data.vocabulary.size() ? data.vocabulary[at] : "";
}

/// Makes the token that ends a turn of the model's chat template an end token. generation_config.json names the same
/// end tokens as config.json: transformers reads them there alone.
void settle_end_tokens(checkpoint& model) {
  if (model.chat && model.tok)
    if (const auto id = model.tok->id(model.chat->turn_end()))
      add_end_token(model.config, *id);
  model.generation.eos_ids = model.config.eos_ids;
}

/// @throws input_error when the template is of no known family
std::shared_ptr<const text::chat_template> recognise(const checkpoint& model) {
  if (model.tok && model.tok->data().bos)
    return text::recognise_chat_template(model.chat_source, model.origin,
                                         token_text(model.tok->data(), *model.tok->data().bos));
  return text::recognise_chat_template(model.chat_source, model.origin);
}

/// What `transformers` needs beside tokenizer.json when the model came without a tokenizer_config.json.
std::string tokenizer_config_text(const checkpoint& model) {
  const auto& data = model.tok->data();
  json out = {{"tokenizer_class", "PreTrainedTokenizerFast"},
              {"model_max_length", model.config.max_positions},
              {"clean_up_tokenization_spaces", false}};
  const auto put = [&](const char* key, std::optional<std::int32_t> id) {
    if (id)
      out[key] = token_text(data, *id);
  };
  put("bos_token", data.bos);
  put("eos_token", data.eos);
  put("pad_token", data.pad);
  put("unk_token", data.unknown);
  if (!model.chat_source.empty())
    out["chat_template"] = model.chat_source;
  return out.dump(2) + "\n";
}

void check_tokenizer(const checkpoint& model) {
  if (model.tok && model.tok->size() > model.config.vocab_size)
    throw input_error(model.origin + ": the tokenizer has " + std::to_string(model.tok->size())
                      + " tokens but the embedding has " + std::to_string(model.config.vocab_size) + " rows");
}

} // namespace

checkpoint load_checkpoint(const fs::path& path, load_options options) {
  if (!fs::exists(path))
    throw input_error(path.string() + ": there is nothing; want a Hugging Face folder or a .gguf file");
  checkpoint out = fs::is_directory(path) ? load_hf_folder(path, options) : load_gguf(path, options);
  if (out.config.score_head && !options.score_head)
    throw input_error(out.origin + ": a sequence-classification model, want a language model");
  check_tokenizer(out);
  if (!out.chat_source.empty()) {
    try {
      out.chat = recognise(out);
    } catch (const input_error&) {
      // A template of no known family matters only to who renders chats: `chat_of` throws this again.
      out.chat = nullptr;
    }
  }
  settle_end_tokens(out);
  return out;
}

void check_shapes(const checkpoint& model) {
  try {
    const decoder made(model.config, model.parameters);
  } catch (const input_error& error) {
    throw input_error(model.origin + ": " + error.what());
  }
}

void use_chat_template(checkpoint& model, std::string_view name) {
  model.chat = text::named_chat_template(name);
  settle_end_tokens(model);
}

const text::chat_template& chat_of(const checkpoint& model) {
  if (model.chat)
    return *model.chat;
  if (!model.chat_source.empty())
    recognise(model);
  std::string names;
  for (const auto name : text::chat_template_names())
    names += (names.empty() ? "" : ", ") + std::string(name);
  throw input_error(model.origin + ": has no chat template, or several and none called default; name one of " + names);
}

void write_checkpoint_files(const fs::path& folder, const checkpoint& model, save_options options) {
  formats::write_new_file(folder / "config.json", config_text(model.config, word(options.kept)));
  formats::write_new_file(folder / "generation_config.json", text::generation_config_text(model.generation));
  write_weights(folder, model.parameters, options);
  if (!model.tok)
    return;
  formats::write_new_file(folder / "tokenizer.json", text::write_tokenizer_json(model.tok->data()));
  formats::write_new_file(folder / "tokenizer_config.json",
                          model.tokenizer_config.empty() ? tokenizer_config_text(model) : model.tokenizer_config);
  if (!model.chat_source.empty())
    formats::write_new_file(folder / "chat_template.jinja", model.chat_source);
}

void save_checkpoint(const fs::path& folder, const checkpoint& model, save_options options) {
  formats::new_folder target(folder);
  write_checkpoint_files(target.folder(), model, options);
  target.finish();
}

} // namespace millrace::model
