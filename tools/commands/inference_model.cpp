#include "tools/commands/inference_model.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/formats/text_lines.hpp"
#include "runtime/model/chat_tokens.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/train/trainable.hpp"
#include "runtime/words/input_error.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>

namespace millrace::tools {
namespace {

std::string shortened(const nlohmann::json& value) {
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > 60)
    text = text.substr(0, 57) + "...";
  return text;
}

std::vector<chat_turn> messages_of(const nlohmann::json& prompt) {
  std::vector<chat_turn> messages;
  for (const auto& turn : prompt) {
    const auto role = turn.is_object() ? turn.find("role") : turn.end();
    const auto content = turn.is_object() ? turn.find("content") : turn.end();
    if (!turn.is_object() || role == turn.end() || content == turn.end() || !role->is_string() || !content->is_string())
      throw input_error("prompt: found " + shortened(turn) + ", want {\"role\": text, \"content\": text}");
    messages.push_back({role->get<std::string>(), content->get<std::string>()});
  }
  if (messages.empty())
    throw input_error("prompt: found no messages, want at least one");
  return messages;
}

template <class T>
std::string array_text(const std::vector<T>& values) {
  std::string text = "[";
  char digits[32];
  for (const T value : values) {
    if (text.size() > 1)
      text += ',';
    text.append(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  }
  return text + "]";
}

} // namespace

std::vector<argument> model_arguments(inference_options& into) {
  return {
      {.name = "--threads",
       .to = &into.threads,
       .help = "Threads of the CPU to compute with",
       .shows_default = true,
       .numbers = sign::positive},
      {.name = "--device",
       .to = &into.device,
       .help = "Where the model computes: cpu, cuda, or auto = cuda where there is one",
       .shows_default = true,
       .one_of = {"auto", "cpu", "cuda"}},
      {.name = "--dtype",
       .to = &into.dtype,
       .help = "What the model's matrices are kept as: float32, bfloat16, or int8, as which a GGUF's Q8_0 stays as it "
               "is; narrow ones on the CPU alone",
       .shows_default = true,
       .one_of = {"float32", "bfloat16", "int8"}},
      {.name = "--template", .to = &into.template_name, .help = "Chat template by name, instead of the model's own"}};
}

inference_model load_inference_model(const std::filesystem::path& path, const std::string& template_name,
                                     at::Device device, sampling_precision kept) {
  const auto read_as = kept == sampling_precision::bfloat16 ? precision::bfloat16 : precision::float32;
  inference_model loaded{model::load_checkpoint(path, {.kept = read_as}), nullptr};
  if (!loaded.about.tok)
    throw input_error(path.string() + ": found no tokenizer, want one");
  if (!template_name.empty())
    model::use_chat_template(loaded.about, template_name);
  loaded.policy =
      model::inference_decoder(loaded.about.config, std::exchange(loaded.about.parameters, {}), device, kept);
  return loaded;
}

inference_model load_inference_model(const std::filesystem::path& path, const inference_options& how) {
  const auto device = train::device_named(how.device, "--device");
  const auto words = words_for(sampling_precision{});
  const auto kept = static_cast<sampling_precision>(std::ranges::find(words, how.dtype) - words.begin());
  if (!device.is_cpu() && kept != sampling_precision::float32)
    throw input_error("--dtype: found " + how.dtype + " and --device " + how.device
                      + " finds a GPU, which keeps float32 alone; want float32 or --device cpu");
  return load_inference_model(path, how.template_name, device, kept);
}

std::vector<std::int32_t> encode_prompt(const inference_model& model, const nlohmann::json& prompt, text_prompt text) {
  if (!prompt.is_string() && !prompt.is_array())
    throw input_error("prompt: found " + shortened(prompt) + ", want text or a list of messages");
  if (prompt.is_string() && text == text_prompt::as_is)
    return model.about.tok->encode(prompt.get_ref<const std::string&>(), text::edges::special);
  const auto messages =
      prompt.is_array() ? messages_of(prompt) : std::vector<chat_turn>{{"user", prompt.get<std::string>()}};
  return model::encode_chat(model.about, messages);
}

std::vector<json_row> read_json_rows(const std::filesystem::path& file) {
  formats::text_lines lines(file, "a JSONL file");
  std::vector<json_row> rows;
  for (std::string line; lines.next(line);) {
    if (formats::is_blank(line))
      continue;
    const std::string where = lines.where();
    auto value = std::make_shared<nlohmann::json>(formats::json_or_discarded(line));
    if (value->is_discarded())
      throw input_error(where + ": found no JSON, want an object");
    if (!value->is_object())
      throw input_error(where + ": found " + shortened(*value) + ", want an object");
    rows.push_back({where, std::move(value)});
  }
  if (rows.empty())
    throw input_error(file.string() + ": found no rows, want at least one");
  return rows;
}

std::string json_array(const std::vector<float>& values) {
  return array_text(values);
}

std::string json_array(const std::vector<std::int32_t>& values) {
  return array_text(values);
}

} // namespace millrace::tools
