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

#include <algorithm>
#include <cstdio>
#include <span>

namespace millrace::model {
namespace fs = std::filesystem;

namespace {

using json = nlohmann::json;

constexpr char weights_file[] = "model.safetensors";
constexpr char index_file[] = "model.safetensors.index.json";

/// A file of weights in a folder.
struct shard {
  fs::path path;
  std::size_t first = 0; ///< of its parameters
  std::span<const named_tensor> parameters;
};

std::int64_t bytes_of(const named_tensor& parameter, precision kept) {
  return parameter.tensor.numel() * bytes_a_number(kept);
}

/// Consecutive parameters, each shard as full as `shard_bytes` allows and never empty.
std::vector<shard> shards_of(const fs::path& folder, std::span<const named_tensor> parameters,
                             const save_options& options) {
  std::vector<std::size_t> starts{0};
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto more = bytes_of(parameters[i], options.kept);
    if (i > starts.back() && bytes + more > options.shard_bytes) {
      starts.push_back(i);
      bytes = 0;
    }
    bytes += more;
  }
  if (starts.size() == 1)
    return {{folder / weights_file, 0, parameters}};
  std::vector<shard> shards;
  for (std::size_t i = 0; i < starts.size(); ++i) {
    char name[64];
    std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, starts.size());
    const auto end = i + 1 < starts.size() ? starts[i + 1] : parameters.size();
    shards.push_back({folder / name, starts[i], parameters.subspan(starts[i], end - starts[i])});
  }
  return shards;
}

/// Says which file each parameter is in; "" where there is one file.
std::string index_text(const std::vector<shard>& shards, precision kept) {
  if (shards.size() == 1)
    return "";
  json map = json::object();
  std::int64_t total = 0;
  for (const auto& one : shards)
    for (const auto& parameter : one.parameters) {
      map[parameter.name] = one.path.filename().string();
      total += bytes_of(parameter, kept);
    }
  const json index = {{"metadata", {{"total_size", total}}}, {"weight_map", std::move(map)}};
  return index.dump(2) + "\n";
}

void write_index(const fs::path& folder, const std::string& text) {
  if (!text.empty())
    formats::write_new_file(folder / index_file, text);
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

void write_description_files(const fs::path& folder, const checkpoint& model, precision kept) {
  formats::write_new_file(folder / "config.json", config_text(model.config, word(kept)));
  formats::write_new_file(folder / "generation_config.json", text::generation_config_text(model.generation));
  if (!model.tok)
    return;
  formats::write_new_file(folder / "tokenizer.json", text::write_tokenizer_json(model.tok->data()));
  formats::write_new_file(folder / "tokenizer_config.json",
                          model.tokenizer_config.empty() ? tokenizer_config_text(model) : model.tokenizer_config);
  if (!model.chat_source.empty())
    formats::write_new_file(folder / "chat_template.jinja", model.chat_source);
}

void write_checkpoint_files(const fs::path& folder, const checkpoint& model, save_options options) {
  write_description_files(folder, model, options.kept);
  const auto shards = shards_of(folder, model.parameters, options);
  for (const auto& one : shards)
    write_safetensors(one.path, one.parameters, options.kept);
  write_index(folder, index_text(shards, options.kept));
}

checkpoint_parts::checkpoint_parts(fs::path folder, const weights& shapes, std::int64_t shard_bytes)
    : folder_(std::move(folder)) {
  const auto shards = shards_of(folder_, shapes, {.shard_bytes = shard_bytes});
  for (const auto& one : shards) {
    files_.emplace_back(one.path, one.parameters);
    ends_.push_back(one.first + one.parameters.size());
  }
  index_ = index_text(shards, precision::float32);
}

void checkpoint_parts::make_room() const {
  for (const auto& file : files_)
    file.make_room();
  fs::remove(folder_ / index_file);
  write_index(folder_, index_);
}

void checkpoint_parts::write(std::size_t parameter, std::int64_t begin, const at::Tensor& numbers) {
  const auto file = static_cast<std::size_t>(std::ranges::upper_bound(ends_, parameter) - ends_.begin());
  files_.at(file).write(parameter - (file == 0 ? 0 : ends_[file - 1]), begin, numbers);
}

void checkpoint_parts::finish() {
  for (auto& file : files_)
    file.finish();
}

void save_checkpoint(const fs::path& folder, const checkpoint& model, save_options options) {
  formats::new_folder target(folder);
  write_checkpoint_files(target.folder(), model, options);
  target.finish();
}

} // namespace millrace::model
