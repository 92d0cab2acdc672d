#include "runtime/model/adapter.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/model/config_json.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/fuzz/readers.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/ATen.h>
#include <nlohmann/json.hpp>

namespace millrace::fuzz {
namespace {

namespace fs = std::filesystem;
using tests::read_file;
using tests::write_file;

/// What `generate` does before the first token.
void load(const fs::path& path) {
  auto loaded = model::load_checkpoint(path, {.weights = true, .score_head = true});
  if (loaded.tok && !loaded.chat_source.empty()) {
    const std::vector<chat_turn> turns{{"user", "Hi"}};
    loaded.tok->encode(model::chat_of(loaded).render(turns, text::opening::assistant));
  }
  model::inference_decoder(loaded.config, std::move(loaded.parameters), at::kCPU);
}

/// A reader of one file of a folder whose others are whole.
reader of_folder(const fs::path& scratch, const std::string& golden, const std::string& file) {
  const fs::path folder = scratch / (golden + " " + file);
  fs::copy("tests/golden/models/" + golden, folder);
  if (file == "tokenizer_config.json") { // and its template stands in it
    auto config = nlohmann::json::parse(read_file(folder / file));
    config["chat_template"] = read_file(folder / "chat_template.jinja");
    fs::remove(folder / "chat_template.jinja");
    write_file(folder / file, config.dump());
  }
  return {.name = file + " of " + golden,
          .whole = {read_file(folder / file)},
          .read = [folder, file](const std::string& bytes) {
            write_file(folder / file, bytes);
            load(folder);
          }};
}

reader of_adapter(const fs::path& scratch, const std::string& file) {
  const fs::path folder = scratch / ("adapter " + file);
  fs::copy("tests/golden/models/adapter", folder);
  return {.name = file, .whole = {read_file(folder / file)}, .read = [folder, file](const std::string& bytes) {
            write_file(folder / file, bytes);
            model::load_adapter(folder);
          }};
}

} // namespace

readers model_readers(const fs::path& scratch) {
  const auto gguf = scratch / "model.gguf";
  return {
      {.name = "config.json",
       .whole = {read_file("tests/golden/models/llama3/config.json"),
                 read_file("tests/golden/models/qwen3/config.json"),
                 read_file("tests/golden/models/score_qwen2/config.json")},
       .read = [](const auto& bytes) { model::config_text(model::parse_config(bytes, "config.json"), "float32"); }},
      of_folder(scratch, "tiny-chat", "config.json"),
      of_folder(scratch, "tiny-chat", "tokenizer_config.json"),
      of_folder(scratch, "tiny-chat", "chat_template.jinja"),
      of_folder(scratch, "tiny-chat", "tokenizer.json"),
      of_folder(scratch, "tiny-chat", "model.safetensors"),
      of_folder(scratch, "llama_sharded", "model.safetensors.index.json"),
      of_folder(scratch, "score_llama", "config.json"),
      {.name = "GGUF of a model",
       .whole = {read_file("tests/golden/models/gguf/llama3.gguf"), read_file("tests/golden/models/gguf/qwen2.gguf")},
       .read =
           [gguf](const std::string& bytes) {
             write_file(gguf, bytes);
             load(gguf);
           }},
      of_adapter(scratch, "adapter_config.json"),
      of_adapter(scratch, "adapter_model.safetensors")};
}

} // namespace millrace::fuzz
