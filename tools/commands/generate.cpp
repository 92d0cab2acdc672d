#include "runtime/cores.hpp"
#include "runtime/input_error.hpp"
#include "runtime/rollout/engine.hpp"
#include "runtime/train/trainable.hpp"
#include "tools/command.hpp"
#include "tools/commands/inference_model.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <set>

namespace millrace::tools {
namespace {

struct arguments {
  std::string model, prompt, file, template_name, device = "auto";
  std::optional<double> temperature, top_p;
  std::optional<int> top_k;
  double min_p = 0;
  std::vector<std::string> stop;
  std::int64_t max_new_tokens = 256, max_context = 0;
  std::uint64_t seed = 1;
  std::int32_t answers = 1, slots = 32;
  int threads = static_cast<int>(cores_here());
  bool no_template = false;
};

rollout::sampling sampling_of(const arguments& given, const model::checkpoint& about) {
  rollout::sampling how;
  how.temperature = given.temperature.value_or(about.generation.temperature.value_or(1.0));
  how.top_p = given.top_p.value_or(about.generation.top_p.value_or(1.0));
  how.top_k = given.top_k.value_or(static_cast<int>(about.generation.top_k.value_or(0)));
  how.min_p = given.min_p;
  how.stop = given.stop;
  how.max_new_tokens = given.max_new_tokens;
  std::set<std::int32_t> ends(about.config.eos_ids.begin(), about.config.eos_ids.end());
  ends.insert(about.generation.eos_ids.begin(), about.generation.eos_ids.end());
  if (about.tok->data().eos)
    ends.insert(*about.tok->data().eos);
  how.end_tokens.assign(ends.begin(), ends.end());
  return how;
}

/// What was asked: the flag's one prompt, or the file's.
std::vector<json_row> prompts_of(const arguments& given) {
  if (!given.file.empty())
    return read_json_rows(given.file);
  return {{"--prompt", std::make_shared<nlohmann::json>(nlohmann::json{{"prompt", given.prompt}})}};
}

std::string output_line(const nlohmann::json& prompt, const rollout::finished_group& group) {
  std::string line = "{\"prompt\":" + prompt.dump() + ",\"answers\":[";
  for (std::size_t i = 0; i < group.answers.size(); ++i) {
    const auto& a = group.answers[i];
    line += (i ? ",{\"text\":" : "{\"text\":") + nlohmann::json(a.text).dump() + ",\"tokens\":" + json_array(a.tokens) +
            ",\"logprob\":" + json_array(a.logprob) + ",\"finish\":\"" +
            (a.finish == rollout::finish_reason::stop ? "stop" : "length") + "\"}";
  }
  return line + "]}\n";
}

int run_generate(const arguments& given) {
  const auto rows = prompts_of(given);
  const auto model = load_inference_model(given.model, given.template_name, train::device_named(given.device, "--device"));
  rollout::engine engine(model.policy, model.about.tok, 0,
                         {.slots = given.slots, .max_context = given.max_context, .threads = given.threads});
  const auto how = sampling_of(given, model.about);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    try {
      const auto prompt = rows[i].value->find("prompt");
      if (prompt == rows[i].value->end())
        throw input_error("found no \"prompt\", want text or a list of messages");
      engine.admit({.group = i,
                    .prompt = encode_prompt(model, *prompt, !given.no_template),
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

command add_generate(CLI::App& root) {
  auto given = std::make_shared<arguments>();
  auto* app = root.add_subcommand("generate", "Answer prompts with a model; one JSON line a prompt on stdout");
  app->add_option("model", given->model, "Hugging Face folder or .gguf file")->required();
  auto* input = app->add_option_group("input", "What to answer (one of the two)");
  input->add_option("--prompt", given->prompt, "One user message");
  input->add_option("--file", given->file, "JSONL, one row a line: {\"prompt\": text or [{\"role\", \"content\"}]}");
  input->require_option(1);
  app->add_option("--max-new-tokens", given->max_new_tokens, "At most so many tokens an answer")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("--temperature", given->temperature,
                  "0 = always the likeliest token [generation_config.json's, else 1]")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--top-k", given->top_k, "Draw from the k likeliest tokens; 0 = all [generation_config.json's, else 0]")
      ->check(CLI::NonNegativeNumber);
  app->add_option("--top-p", given->top_p,
                  "Draw from the likeliest tokens that have this probability together [generation_config.json's, else 1]")
      ->check(CLI::Range(1e-6, 1.0));
  app->add_option("--min-p", given->min_p, "Draw from tokens at least this many times as likely as the likeliest")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  app->add_option("--stop", given->stop, "End an answer before this text (repeatable)");
  app->add_option("--seed", given->seed, "Answer i of row r is drawn from (seed + r, i)")->capture_default_str();
  app->add_option("--answers", given->answers, "Answers to each prompt")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("--slots", given->slots, "Answers decoded together")->check(CLI::PositiveNumber)->capture_default_str();
  app->add_option("--max-context", given->max_context, "Tokens of prompt and answer; 0 = the model's")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app->add_option("--threads", given->threads, "Threads of the CPU to compute with")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app->add_option("--device", given->device, device_help)
      ->check(CLI::IsMember({"auto", "cpu", "cuda"}))
      ->capture_default_str();
  app->add_option("--template", given->template_name, "Chat template by name, instead of the model's own");
  app->add_flag("--no-template", given->no_template, "Take a text prompt as it stands, not as a user message");
  return [given] { return run_generate(*given); };
}

} // namespace millrace::tools
