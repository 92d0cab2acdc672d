// Generation: every row of a batch has a prompt of its own of 48 tokens and draws 48 tokens at temperature 1. Prints
// one JSON line a batch. The tokens are random: what counts is the shape.
//
//   bench_sampling MODEL [--threads N] [--batch N]... [--answers N] [--prompt-tokens N] [--new-tokens N] [--repeat N]
//                 [--prefill-rows N] [--device cpu|cuda] [--dtype float32|bfloat16|int8]
//                 [--cache-dtype float32|bfloat16|int8]
//
// tools/bench/sampling_peer.py runs this and transformers' generate in turns and prints the ratio;
// tools/bench/long_contexts.py does so for prompts of thousands of tokens.

#include "runtime/model/checkpoint.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/rollout/engine.hpp"
#include "runtime/train/trainable.hpp"
#include "runtime/words/enum_words.hpp"
#include "tools/command_line.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace millrace;

struct shape {
  std::int32_t batch, answers;
  std::int64_t prompt_tokens, new_tokens;
};

/// Seconds until every answer is there, and what of it was the prompts'.
struct timing {
  double total_s = 0, prefill_s = 0;
  double prefill_cpu_s = 0,
         decode_cpu_s = 0; ///< of the process, its threads together: steps with rows of prompts, others
  std::int64_t steps = 0, decode_steps = 0;

  double cpu_s() const { return prefill_cpu_s + decode_cpu_s; }
};

double cpu_now() {
  return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
}

timing run(rollout::engine& engine, const shape& s, std::int64_t vocab, std::uint64_t round) {
  const auto start = std::chrono::steady_clock::now();
  for (std::int32_t i = 0; i < s.batch / s.answers; ++i) {
    rollout::group_request request;
    request.group = static_cast<std::uint64_t>(i);
    request.answers = s.answers;
    request.seed = round * 1000 + static_cast<std::uint64_t>(i);
    request.how.max_new_tokens = s.new_tokens;
    for (std::int64_t t = 0; t < s.prompt_tokens; ++t)
      request.prompt.push_back(static_cast<std::int32_t>((t * 7919 + i * 104729 + 13) % vocab));
    engine.admit(std::move(request));
  }
  timing t;
  while (!engine.idle()) {
    const double before = cpu_now();
    engine.step();
    const bool decodes = engine.last_step().prompt_tokens == 0;
    (decodes ? t.decode_cpu_s : t.prefill_cpu_s) += cpu_now() - before;
    t.decode_steps += decodes;
    t.prefill_s += engine.last_step().prefill_s;
    ++t.steps;
  }
  t.total_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return t;
}

struct sampling_arguments {
  std::string path, device = "cpu", dtype = "float32", cache_dtype = "float32";
  int threads = 2, repeat = 3;
  std::int32_t answers = 1;
  std::int64_t prompt_tokens = 48, new_tokens = 48, prefill_rows = 2048;
  std::vector<int> batches{1, 16, 32};
};

int measure(const sampling_arguments& given) {
  const auto& [path, device, dtype, cache_dtype, threads, repeat, answers, prompt_tokens, new_tokens, prefill_rows,
               batches] = given;
  const auto weights = value_of<sampling_precision>(dtype).value();
  auto loaded = model::load_checkpoint(path, {.kept = value_of<precision>(dtype).value_or(precision::float32)});
  const auto policy = model::inference_decoder(loaded.config, std::exchange(loaded.parameters, {}),
                                               train::device_named(device, "--device"), weights);
  for (const auto batch : batches) {
    timing best;
    for (int i = 0; i < repeat; ++i) {
      rollout::engine engine(policy, nullptr, 0,
                             {.slots = batch,
                              .prefill_rows = prefill_rows,
                              .threads = threads,
                              .cached = value_of<sampling_precision>(cache_dtype).value()});
      const auto t = run(engine, {batch, std::min(answers, batch), prompt_tokens, new_tokens}, loaded.config.vocab_size,
                         static_cast<std::uint64_t>(i));
      const timing kept = best;
      if (i == 0 || t.total_s < best.total_s)
        best = t;
      best.prefill_cpu_s = i == 0 ? t.prefill_cpu_s : std::min(kept.prefill_cpu_s, t.prefill_cpu_s);
      best.decode_cpu_s = i == 0 ? t.decode_cpu_s : std::min(kept.decode_cpu_s, t.decode_cpu_s);
    }
    const double decode_s = best.total_s - best.prefill_s;
    std::printf(
        "{\"batch\":%d,\"device\":\"%s\",\"threads\":%d,\"total_s\":%.3f,\"prefill_s\":%.3f,\"tokens_per_s\":%.1f,"
        "\"ms_per_decode_step\":%.2f,\"cpu_s\":%.3f,\"prefill_cpu_s\":%.3f,\"cpu_ms_per_decode_step\":%.2f}\n",
        batch, policy->device().str().c_str(), threads, best.total_s, best.prefill_s,
        static_cast<double>(batch * new_tokens) / best.total_s,
        decode_s / static_cast<double>(std::max<std::int64_t>(1, best.steps - 1)) * 1e3, best.cpu_s(),
        best.prefill_cpu_s,
        best.decode_cpu_s / static_cast<double>(std::max<std::int64_t>(1, best.decode_steps)) * 1e3);
    std::fflush(stdout);
  }
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  sampling_arguments given;
  const tools::command only{
      .name = "bench_sampling",
      .help = "Sampling speed",
      .arguments = {{.name = "model", .to = &given.path, .required = true},
                    {.name = "--threads", .to = &given.threads},
                    {.name = "--batch", .to = &given.batches},
                    {.name = "--answers",
                     .to = &given.answers,
                     .help = "Answers that share a prompt; divides the batch"},
                    {.name = "--prompt-tokens", .to = &given.prompt_tokens},
                    {.name = "--new-tokens", .to = &given.new_tokens},
                    {.name = "--prefill-rows", .to = &given.prefill_rows, .help = "Prompt tokens computed in one step"},
                    {.name = "--repeat", .to = &given.repeat},
                    {.name = "--device", .to = &given.device, .one_of = {"auto", "cpu", "cuda"}},
                    {.name = "--dtype", .to = &given.dtype, .one_of = {"float32", "bfloat16", "int8"}},
                    {.name = "--cache-dtype", .to = &given.cache_dtype, .one_of = {"float32", "bfloat16", "int8"}}},
      .run = [&given] { return measure(given); }};
  return tools::run_program(only, argc, argv);
}
