#include "runtime/formats/strict_json.hpp"
#include "runtime/rollout/engine.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"
#include "tools/commands/inference_model.hpp"

#include <nlohmann/json.hpp>

#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>

namespace millrace::tools {
namespace {

struct generate_arguments {
  std::string model, prompt, file;
  std::optional<double> temperature, top_p;
  std::optional<int> top_k;
  double min_p = 0;
  std::vector<std::string> stop;
  std::int64_t max_new_tokens = 256, max_context = 0;
  std::uint64_t seed = 1;
  std::int32_t answers = 1, slots = 32;
  inference_options how;
  bool no_template = false;
};

rollout::sampling sampling_of(const generate_arguments& given, const model::checkpoint& about) {
  rollout::sampling how;
  how.temperature = given.temperature ? *given.temperature : about.generation.temperature.or_else(1);
  how.top_p = given.top_p ? *given.top_p : about.generation.top_p.or_else(1);
  how.top_k = given.top_k ? *given.top_k : static_cast<int>(about.generation.top_k.or_else(0));
  how.min_p = given.min_p;
  how.stop = given.stop;
  how.max_new_tokens = given.max_new_tokens;
  how.end_tokens = about.config.eos_ids;
  return how;
}

/// What was asked: the flag's one prompt, or the file's.
std::vector<json_row> prompts_of(const generate_arguments& given) {
  if (!given.file.empty())
    return read_json_rows(given.file);
  return {{"--prompt", std::make_shared<nlohmann::json>(nlohmann::json{{"prompt", given.prompt}})}};
}

std::string output_line(const nlohmann::json& prompt, const rollout::finished_group& group) {
  std::string line = "{\"prompt\":" + formats::json_line(prompt) + ",\"answers\":[";
  for (std::size_t i = 0; i < group.answers.size(); ++i) {
    const auto& a = group.answers[i];
    line += (i ? ",{\"text\":" : "{\"text\":") + formats::json_line(a.text) + ",\"tokens\":" + json_array(a.tokens)
            + ",\"logprob\":" + json_array(a.logprob) + ",\"finish\":\""
            + (a.finish == rollout::finish_reason::stop ? "stop" : "length") + "\"}";
  }
  return line + "]}\n";
}

int run_generate(const generate_arguments& given) {
  const auto rows = prompts_of(given);
  const auto model = load_inference_model(given.model, given.how);
  rollout::engine engine(model.policy, model.about.tok, 0,
                         {.slots = given.slots, .max_context = given.max_context, .threads = given.how.threads});
  const auto how = sampling_of(given, model.about);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    try {
      const auto prompt = rows[i].value->find("prompt");
      if (prompt == rows[i].value->end())
        throw input_error("found no \"prompt\", want text or a list of messages");
      engine.admit(
          {.group = i,
           .prompt = encode_prompt(model, *prompt, given.no_template ? text_prompt::as_is : text_prompt::message),
           .answers = given.answers,
           .seed = given.seed + i,
           .how = how});
    } catch (const input_error& error) {
      throw input_error(rows[i].where + ": " + error.what());
    }
  }
  const auto start = std::chrono::steady_clock::now();
  std::int64_t sampled = 0, prompt_tokens = 0;
  std::map<std::uint64_t, rollout::finished_group> early; // finished before a row that stands in front of them
  std::uint64_t next = 0;
  while (!engine.idle()) {
    for (auto& group : engine.step())
      early.emplace(group.group, std::move(group));
    sampled += engine.last_step().sampled_tokens;
    prompt_tokens += engine.last_step().prompt_tokens;
    for (auto at = early.find(next); at != early.end(); at = early.find(++next)) {
      std::fputs(output_line((*rows[next].value)["prompt"], at->second).c_str(), stdout);
      std::fflush(stdout);
      early.erase(at);
    }
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::fprintf(stderr, "%zu prompts of %lld tokens, %lld tokens sampled in %.2f s: %.1f tokens/s\n", rows.size(),
               static_cast<long long>(prompt_tokens), static_cast<long long>(sampled), seconds,
               static_cast<double>(sampled) / seconds);
  return 0;
}

} // namespace

namespace {

/// How to sample, as the arguments of the command.
std::vector<argument> sampling_arguments(generate_arguments& given) {
  return {{.name = "--max-new-tokens",
           .to = &given.max_new_tokens,
           .help = "At most so many tokens an answer",
           .shows_default = true,
           .numbers = sign::positive},
          {.name = "--temperature",
           .to = &given.temperature,
           .help = "0 = always the likeliest token [generation_config.json's, else 1]",
           .numbers = sign::not_negative},
          {.name = "--top-k",
           .to = &given.top_k,
           .help = "Draw from the k likeliest tokens; 0 = all [generation_config.json's, else 0]",
           .numbers = sign::not_negative},
          {.name = "--top-p",
           .to = &given.top_p,
           .help = "Draw from the likeliest tokens that have this probability together [generation_config.json's, "
                   "else 1]",
           .between = {{1e-6, 1.0}}},
          {.name = "--min-p",
           .to = &given.min_p,
           .help = "Draw from tokens at least this many times as likely as the likeliest",
           .shows_default = true,
           .between = {{0.0, 1.0}}},
          {.name = "--stop", .to = &given.stop, .help = "End an answer before this text (repeatable)"},
          {.name = "--seed",
           .to = &given.seed,
           .help = "Answer i of row r is drawn from (seed + r, i)",
           .shows_default = true},
          {.name = "--answers",
           .to = &given.answers,
           .help = "Answers to each prompt",
           .shows_default = true,
           .numbers = sign::positive},
          {.name = "--slots",
           .to = &given.slots,
           .help = "Answers decoded together",
           .shows_default = true,
           .numbers = sign::positive},
          {.name = "--max-context",
           .to = &given.max_context,
           .help = "Tokens of prompt and answer; 0 = the model's",
           .shows_default = true,
           .numbers = sign::not_negative}};
}

} // namespace

command generate_command() {
  const auto given = std::make_shared<generate_arguments>();
  std::vector<argument> arguments{
      {.name = "model", .to = &given->model, .help = "Hugging Face folder or .gguf file", .required = true}};
  for (const auto& more : {sampling_arguments(*given), model_arguments(given->how)})
    arguments.insert(arguments.end(), more.begin(), more.end());
  arguments.push_back({.name = "--no-template",
                       .to = &given->no_template,
                       .help = "Take a text prompt as it stands, not as a user message"});
  return {.name = "generate",
          .help = "Answer prompts with a model; one JSON line a prompt on stdout",
          .arguments = std::move(arguments),
          .choices = {{.name = "input",
                       .help = "What to answer (one of the two)",
                       .arguments = {{.name = "--prompt", .to = &given->prompt, .help = "One user message"},
                                     {.name = "--file",
                                      .to = &given->file,
                                      .help = "JSONL, one row a line: {\"prompt\": text or [{\"role\", "
                                              "\"content\"}]}"}}}},
          .run = [given] { return run_generate(*given); }};
}

} // namespace millrace::tools
