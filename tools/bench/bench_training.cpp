// One GRPO training step of SmolLM2-135M's shape: 4 prompts of 48 tokens, 8 answers each of 5 to 64 tokens (mean 33),
// random weights. Prints one JSON line a number of threads. `activation_bytes` is by how much the resident memory of
// the last step's peak lies above its start (CPU).
//
//   bench_training [--threads N ...] [--steps N] [--micro-batch-tokens N] [--device cpu|cuda]
//                  [--activations kept|recomputed] [--compute-dtype float32|bfloat16] [--rounds-weights 0|1]
//                  [--layers N] [--groups N] [--flat N: so many of them have answers of one reward]
//                  [--answer-tokens N: two answers of N tokens instead]

#include "runtime/model/matrix_product.hpp"
#include "runtime/train/learner.hpp"
#include "runtime/train/trainable.hpp"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <random>
#include <string>
#include <vector>

namespace {

using namespace millrace;

model::model_config smollm2() {
  model::model_config c;
  c.family = &model::family_named("llama");
  c.hidden_size = 576;
  c.layers = 30;
  c.heads = 9;
  c.kv_heads = 3;
  c.head_dim = 64;
  c.ffn_size = 1536;
  c.vocab_size = 49152;
  c.max_positions = 8192;
  c.rope_theta = 100000;
  c.tie_embeddings = true;
  return c;
}

model::weights random_weights(const model::model_config& c) {
  model::weights out;
  const auto add = [&](const std::string& name, std::vector<std::int64_t> shape) {
    out.push_back(
        {name, shape.size() == 1 ? at::ones(shape) : at::randn(shape) / std::sqrt(static_cast<double>(shape[1]))});
  };
  add("model.embed_tokens.weight", {c.vocab_size, c.hidden_size});
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const std::string at = "model.layers." + std::to_string(i) + ".";
    add(at + "input_layernorm.weight", {c.hidden_size});
    add(at + "post_attention_layernorm.weight", {c.hidden_size});
    add(at + "self_attn.q_proj.weight", {c.heads * c.head_dim, c.hidden_size});
    add(at + "self_attn.k_proj.weight", {c.kv_heads * c.head_dim, c.hidden_size});
    add(at + "self_attn.v_proj.weight", {c.kv_heads * c.head_dim, c.hidden_size});
    add(at + "self_attn.o_proj.weight", {c.hidden_size, c.heads * c.head_dim});
    add(at + "mlp.gate_proj.weight", {c.ffn_size, c.hidden_size});
    add(at + "mlp.up_proj.weight", {c.ffn_size, c.hidden_size});
    add(at + "mlp.down_proj.weight", {c.hidden_size, c.ffn_size});
  }
  add("model.norm.weight", {c.hidden_size});
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

/// @param flat so many groups, the first ones, have answers of one reward
std::vector<train::training_group> batch(const model::model_config& c, int answer_tokens, int count, int flat) {
  std::mt19937_64 random(1);
  const auto token = [&] { return static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(c.vocab_size)); };
  std::vector<train::training_group> groups(static_cast<std::size_t>(answer_tokens > 0 ? 1 : count));
  const std::vector<int> lengths = answer_tokens > 0 ? std::vector{answer_tokens, answer_tokens}
                                                     : std::vector{5, 12, 20, 28, 36, 44, 55, 64}; // mean 33
  for (std::size_t g = 0; g < groups.size(); ++g) {
    groups[g].id = g;
    for (int i = 0; i < 48; ++i)
      groups[g].prompt.push_back(token());
    for (const int length : lengths) {
      std::vector<std::int32_t> answer;
      for (int i = 0; i < length; ++i)
        answer.push_back(token());
      groups[g].answers.push_back(answer);
      groups[g].behaviour_logprob.emplace_back(length, -10.8f);
      groups[g].version.emplace_back(length, 0u);
      groups[g].reward.push_back(answer_tokens > 0 ? static_cast<float>(groups[g].reward.size())
                                                   : static_cast<float>(random() % 2));
    }
    if (g < static_cast<std::size_t>(flat))
      groups[g].reward.assign(lengths.size(), 1);
  }
  return groups;
}

/// Products of a step: each fed token meets every layer weight 3 times, each predicting row the head 4 times (its
/// logits are computed again in the backward pass); a product is 2 operations a weight.
double operations_of_step(const model::model_config& c, const train::step_report& r) {
  const double layer =
      static_cast<double>(c.hidden_size * (2 * c.heads + 2 * c.kv_heads) * c.head_dim + 3 * c.hidden_size * c.ffn_size);
  const double rows = static_cast<double>(r.answer_tokens - r.answers + r.groups);
  return 6 * layer * static_cast<double>(c.layers * r.fed_tokens)
         + 8 * static_cast<double>(c.hidden_size * c.vocab_size) * rows;
}

/// Rate of the product that most of a step is made of, where the step runs.
double peak_gflops(at::Device device) {
  const at::Tensor x = at::randn({1248, 576}).to(device), w = at::randn({1536, 576}).to(device);
  const int products = device.is_cpu() ? 1 : 100;
  at::Tensor y;
  double best = 1e9;
  for (int i = 0; i < 20; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    for (int at_once = 0; at_once < products; ++at_once)
      y = model::product_transposed(x, w);
    y[0][0].item<float>(); // waits for a GPU
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return products * 2.0 * 1248 * 576 * 1536 * 1e-9 / best;
}

/// A line of /proc/self/status in bytes.
double memory_bytes(const std::string& name) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);)
    if (line.starts_with(name + ":"))
      return std::atof(line.c_str() + name.size() + 1) * 1024;
  return 0;
}

/// From now on the peak is that of what comes.
void forget_memory_peak() {
  if (std::FILE* file = std::fopen("/proc/self/clear_refs", "w")) {
    std::fputs("5", file);
    std::fclose(file);
  }
}

} // namespace

int main(int argc, char** argv) {
  std::vector<int> threads;
  int steps = 4, answer_tokens = 0, groups_a_step = 4, flat = 0;
  auto config = smollm2();
  train::learner_options options;
  options.device = "cpu";
  options.optimizer.lr = 1e-6;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string flag = argv[i];
    if (flag == "--threads")
      threads.push_back(std::atoi(argv[i + 1]));
    else if (flag == "--steps")
      steps = std::atoi(argv[i + 1]);
    else if (flag == "--micro-batch-tokens")
      options.micro_batch_tokens = std::atoll(argv[i + 1]);
    else if (flag == "--at-once")
      options.micro_batches_at_once = std::atoi(argv[i + 1]);
    else if (flag == "--activations")
      options.activations =
          argv[i + 1] == std::string("recomputed") ? model::activations::recomputed : model::activations::kept;
    else if (flag == "--rounds-weights")
      options.rounds_weights = std::atoi(argv[i + 1]) != 0;
    else if (flag == "--compute-dtype")
      options.computes = argv[i + 1] == std::string("bfloat16") ? precision::bfloat16 : precision::float32;
    else if (flag == "--layers")
      config.layers = std::atoll(argv[i + 1]);
    else if (flag == "--answer-tokens")
      answer_tokens = std::atoi(argv[i + 1]);
    else if (flag == "--groups")
      groups_a_step = std::atoi(argv[i + 1]);
    else if (flag == "--flat")
      flat = std::atoi(argv[i + 1]);
    else if (flag == "--device")
      options.device = argv[i + 1];
    else
      return std::fprintf(stderr, "unknown flag %s\n", argv[i]), 1;
  }
  if (threads.empty())
    threads = {1, 2};
  at::manual_seed(1);
  const auto groups = batch(config, answer_tokens, groups_a_step, flat);
  const auto weights = random_weights(config);
  for (const int count : threads) {
    options.threads = count;
    at::set_num_threads(count);
    train::learner learner(config, weights, options);
    train::step_report best;
    best.total_s = 1e9;
    double activations = 0;
    for (int i = 0; i < steps; ++i) {
      forget_memory_peak();
      const double before = memory_bytes("VmRSS");
      const auto report = learner.step(groups, 0);
      std::fprintf(stderr, "step %d: %.3f s (forward %.3f, backward %.3f, optimizer %.3f)\n", i, report.total_s,
                   report.forward_s, report.backward_s, report.optimizer_s);
      activations = memory_bytes("VmHWM") - before;
      if (report.total_s < best.total_s)
        best = report;
    }
    const double work = operations_of_step(config, best) * 1e-9;
    std::printf("{\"threads\": %d, \"device\": \"%s\", \"step_s\": %.3f, \"forward_s\": %.3f, \"backward_s\": %.3f, "
                "\"optimizer_s\": %.3f, \"fed_tokens\": %lld, \"answer_tokens\": %lld, \"tokens_per_s\": %.0f, "
                "\"gflop\": %.0f, \"gflops\": "
                "%.0f, \"product_gflops\": %.0f, \"activation_bytes\": %.0f}\n",
                count, options.device.c_str(), best.total_s, best.forward_s, best.backward_s, best.optimizer_s,
                static_cast<long long>(best.fed_tokens), static_cast<long long>(best.answer_tokens),
                static_cast<double>(best.answer_tokens) / best.total_s, work, work / best.total_s,
                peak_gflops(train::device_named(options.device)), activations);
  }
}
