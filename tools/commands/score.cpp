#include "runtime/model/answer_logprobs.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"
#include "tools/commands/inference_model.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <memory>

namespace millrace::tools {
namespace {

struct score_arguments {
  std::string model, file;
  double temperature = 1;
  inference_options how;
};

struct scored_text {
  std::vector<std::int32_t> prompt, completion;
};

std::vector<std::int32_t> ids_of(const nlohmann::json& row, const char* key, std::int64_t vocabulary) {
  const auto found = row.find(key);
  if (found == row.end() || !found->is_array())
    throw input_error(std::string("\"") + key + "\": found no list, want token ids");
  std::vector<std::int32_t> ids;
  for (const auto& id : *found) {
    if (!id.is_number_integer() || id < 0 || id >= vocabulary)
      throw input_error(std::string("\"") + key + "\": found "
                        + id.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + ", want a token id in [0, "
                        + std::to_string(vocabulary) + ")");
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

scored_text text_of(const inference_model& model, const nlohmann::json& row) {
  scored_text text;
  if (row.contains("tokens") || row.contains("prompt_tokens")) {
    text.prompt = ids_of(row, "prompt_tokens", model.policy->config().vocab_size);
    text.completion = ids_of(row, "tokens", model.policy->config().vocab_size);
  } else {
    const auto prompt = row.find("prompt"), completion = row.find("completion");
    if (prompt == row.end() || completion == row.end() || !completion->is_string())
      throw input_error("want \"prompt\" (text or messages) and \"completion\" (text), or \"prompt_tokens\" and "
                        "\"tokens\"");
    text.prompt = encode_prompt(model, *prompt, text_prompt::as_is);
    text.completion = model.about.tok->encode(completion->get_ref<const std::string&>());
  }
  if (text.prompt.empty())
    throw input_error("the prompt has no tokens, want at least one");
  const auto length = static_cast<std::int64_t>(text.prompt.size() + text.completion.size());
  if (length > model.policy->config().max_positions)
    throw input_error("prompt and completion have " + std::to_string(length) + " tokens, want at most "
                      + std::to_string(model.policy->config().max_positions) + " (the model's context)");
  return text;
}

int run_score(const score_arguments& given) {
  const auto rows = read_json_rows(given.file);
  const auto model = load_inference_model(given.model, given.how);
  std::vector<scored_text> texts;
  std::size_t tokens = 0;
  for (const auto& row : rows) {
    try {
      texts.push_back(text_of(model, *row.value));
    } catch (const input_error& error) {
      throw input_error(row.where + ": " + error.what());
    }
    tokens += texts.back().completion.size();
  }
  const auto start = std::chrono::steady_clock::now();
  for (const auto& text : texts) {
    const auto logprobs =
        model::answer_logprobs(*model.policy, text.prompt, {&text.completion, 1}, given.temperature, given.how.threads);
    std::printf("{\"tokens\":%s,\"logprobs\":%s}\n", json_array(text.completion).c_str(), json_array(logprobs).c_str());
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::fprintf(stderr, "%zu rows, %zu tokens scored in %.2f s\n", rows.size(), tokens, seconds);
  return 0;
}

} // namespace

command score_command() {
  const auto given = std::make_shared<score_arguments>();
  std::vector<argument> arguments{
      {.name = "model", .to = &given->model, .help = "Hugging Face folder or .gguf file", .required = true},
      {.name = "--file",
       .to = &given->file,
       .help = "JSONL: {\"prompt\", \"completion\"} (a prompt of text is taken as it stands, messages go through the "
               "chat template) or {\"prompt_tokens\", \"tokens\"}",
       .required = true},
      {.name = "--temperature",
       .to = &given->temperature,
       .help = "Of softmax(logits / temperature)",
       .shows_default = true,
       .numbers = sign::positive}};
  const auto more = model_arguments(given->how);
  arguments.insert(arguments.end(), more.begin(), more.end());
  return {.name = "score",
          .help = "Log-probabilities of given completions; one JSON line a row on stdout",
          .arguments = std::move(arguments),
          .run = [given] { return run_score(*given); }};
}

} // namespace millrace::tools
