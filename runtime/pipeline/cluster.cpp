#include "runtime/pipeline/cluster.hpp"

#include "runtime/pipeline/parse.hpp"
#include "runtime/pipeline/wording.hpp"
#include "runtime/words/decimal.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

namespace millrace::pipeline {
namespace {

// Numbers and sources of the presets. Decode times follow max((W + B ctx kv) / BW, FLOPs / F) with bandwidth and rate
// as measured or on the data sheet, plus an engine's overhead a step.
constexpr std::string_view h200_8 = R"(# One node of 8 H200, a 1.5B model (Qwen2.5-1.5B), reasoning answers.
[rollout]
gpus = 4
# Step of 0.85, 1.23, 1.74 and 2.77 ms at 32, 128, 256 and 512 answers, context 600: W and the KV cache over the 4.3
# TB/s measured on an H200, compute over 790 TFLOP/s; plus 1 ms of host time a step (Hazy Research 2025; vLLM blog
# 2026-03-24).
decode = [ { occupied = 32, tokens_per_s = 540 }, { occupied = 128, tokens_per_s = 448 },
           { occupied = 256, tokens_per_s = 365 }, { occupied = 512, tokens_per_s = 265 } ]
prefill_s = 0.01
# log-probabilities of a 1.5B model at 14,000 tokens: 51,000 to 53,000 tokens/s a GPU, H100 (RLinf docs, 2025-08)
resume_tokens_per_s = 50000

[training]
gpus = 4
# llm.q trains 1.5B at 59,000 tokens/s on an H100 at length 1,024; at RL's lengths, and with the forward pass of the
# old log-probabilities, half of it
tokens_per_s = 30000
step_s = 0.5

[publication]
copy_s = 0.01                 # 3.1 GB at 4.3 TB/s is 1.4 ms; a shard's gathering comes on top
transfer_s = 0.3              # verl one-step-off, small model: below 0.3 s
pause_s = 0.01

[tools]
latency_s = 0.2               # a rule verifier

[lengths]
mean = 6000                   # the assumption of our own simulation: log-normal, standard deviation 1.2 times the mean
cv = 1.2
max = 32000
)";

constexpr std::string_view h100_64 = R"(# 8 nodes of 8 H100, a 7B model (Qwen2.5-7B), reasoning answers.
[rollout]
gpus = 32
# Step of 3.54, 4.31, 5.34 and 9.3 ms at 32, 128, 256 and 512 answers on an H200, times 4.8 / 3.35 for the H100's
# bandwidth on the data sheet, plus 5 ms of a Python engine's host time a step (nano-vllm-triton#1: what 0.5B models
# lose to it).
decode = [ { occupied = 32, tokens_per_s = 99 }, { occupied = 128, tokens_per_s = 90 },
           { occupied = 256, tokens_per_s = 79 }, { occupied = 512, tokens_per_s = 55 } ]
prefill_s = 0.05
resume_tokens_per_s = 20000

[training]
gpus = 32
# llm.q trains 7B at 14,000 tokens/s on an H100 (60 % of what it could do); with the forward pass of the old
# log-probabilities and at RL's lengths half of it
tokens_per_s = 7000
step_s = 3

[publication]
copy_s = 0.2
transfer_s = 4.4              # verl with checkpoint-engine, 30B, 16 + 16 GPUs: 4.4 s
pause_s = 0.5

[tools]
latency_s = 2
latency_cv = 1

[failures]
# 419 interruptions of 16,384 H100 in 54 days (Llama 3, arXiv:2407.21783, table 5), for 64 GPUs
per_hour = 0.0013
restart_s = 300

[lengths]
mean = 6000
cv = 1.2
max = 32000
)";

constexpr std::string_view h100_1024 = R"(# 128 nodes of 8 H100, a 32B model (Qwen2.5-32B), reasoning answers.
[rollout]
gpus = 768
gpus_per_engine = 4
# W = 64 GB and 256 KiB of cache a token, over 4 GPUs of 3.0 TB/s: 5.3 ms for the weights, 0.09 ms for each answer of
# 4,000 tokens, 5 ms of a Python engine's host time.
decode = [ { occupied = 1, tokens_per_s = 97 }, { occupied = 64, tokens_per_s = 62 },
           { occupied = 256, tokens_per_s = 30 } ]
prefill_s = 0.1
resume_tokens_per_s = 15000

[training]
gpus = 256
tokens_per_s = 1600           # 40 % of 790 TFLOP/s over 6 N a token (torchtitan 33 to 39 %, nanochat 40 to 46 %)
step_s = 15

[publication]
copy_s = 1
transfer_s = 11.5             # verl, 32B: 17.9 s over NCCL, 11.5 s as sharded deltas
pause_s = 1

[tools]
latency_s = 5
latency_cv = 1.5

[failures]
# 419 interruptions of 16,384 H100 in 54 days (Llama 3, arXiv:2407.21783, table 5), for 1,024 GPUs
per_hour = 0.02
restart_s = 600

[lengths]
mean = 6000
cv = 1.2
max = 32000
)";

constexpr std::array<std::pair<std::string_view, std::string_view>, 3> clusters{
    {{"h200-8", h200_8}, {"h100-64", h100_64}, {"h100-1024", h100_1024}}};

void check_rates(const cluster_table& cluster, reading& into) {
  const auto& rates = cluster.rollout.decode;
  for (std::size_t i = 1; i < rates.size(); ++i) {
    const auto at = "rollout.decode." + std::to_string(i);
    if (rates[i].occupied <= rates[i - 1].occupied)
      into.wrong(into.place(at + ".occupied"), at + ".occupied: found " + std::to_string(rates[i].occupied)
                                                   + ", want more than the " + std::to_string(rates[i - 1].occupied)
                                                   + " before it");
    else if (rates[i].tokens_per_s > rates[i - 1].tokens_per_s)
      into.wrong(into.place(at + ".tokens_per_s"), at + ".tokens_per_s: found " + decimal(rates[i].tokens_per_s)
                                                       + ", want at most the " + decimal(rates[i - 1].tokens_per_s)
                                                       + " of fewer answers: more of them do not go faster");
  }
  if (cluster.rollout.gpus_per_engine > 0 && cluster.rollout.gpus % cluster.rollout.gpus_per_engine != 0)
    into.wrong(into.place("rollout.gpus"),
               "rollout.gpus: found " + std::to_string(cluster.rollout.gpus)
                   + ", want a multiple of gpus_per_engine = " + std::to_string(cluster.rollout.gpus_per_engine));
}

cluster_table parse_cluster(std::string_view text, const std::string& name) {
  auto root = parse_document(text, name);
  root.where = {name, 1, 1};
  const auto words = built_in_vocabulary();
  reading into{words, {}, {}, {{"", root.where}}, {}};
  cluster_table cluster;
  reader fields(root, "", into);
  cluster_table::visit(cluster, fields);
  fields.finish();
  if (into.mistakes.empty())
    check_rates(cluster, into);
  if (!into.mistakes.empty())
    throw pipeline_errors(std::move(into.mistakes));
  return cluster;
}

} // namespace

std::vector<std::string> cluster_names() {
  std::vector<std::string> names;
  for (const auto& [name, text] : clusters)
    names.emplace_back(name);
  return names;
}

std::string_view cluster_text(std::string_view name) {
  for (const auto& [known, text] : clusters)
    if (known == name)
      return text;
  throw input_error("cluster " + in_quotes(std::string(name)) + ": want one of " + joined(cluster_names()));
}

cluster_table read_cluster(const std::string& name_or_file) {
  const auto names = cluster_names();
  if (std::find(names.begin(), names.end(), name_or_file) != names.end())
    return parse_cluster(cluster_text(name_or_file), "cluster " + name_or_file);
  if (!std::filesystem::exists(name_or_file))
    throw input_error("cluster " + in_quotes(name_or_file) + ": no such file, want one or " + joined(names));
  return parse_cluster(text_of_file(name_or_file), name_or_file);
}

schedule::workload on_cluster(schedule::workload shape, const cluster_table& cluster, schedule::place_mode place) {
  const bool timeshare = place == schedule::place_mode::timeshare;
  const auto& rollout = cluster.rollout;
  const auto gpus = rollout.gpus + (timeshare ? cluster.training.gpus : 0);
  shape.workers = static_cast<std::uint32_t>(gpus / rollout.gpus_per_engine);
  shape.decode.clear();
  for (const auto& rate : rollout.decode)
    shape.decode.push_back({static_cast<double>(rate.occupied), 1 / rate.tokens_per_s});
  shape.prefill_s = rollout.prefill_s;
  shape.resume_token_s = rollout.resume_tokens_per_s > 0 ? 1 / rollout.resume_tokens_per_s : 0;
  shape.train_s = cluster.training.step_s;
  shape.train_token_s =
      1 / cluster.training.tokens_per_s / static_cast<double>(cluster.training.gpus + (timeshare ? rollout.gpus : 0));
  shape.copy_s = cluster.publication.copy_s;
  shape.layout_s = cluster.publication.transfer_s;
  shape.publish_s = cluster.publication.pause_s;
  shape.columns_s = cluster.tools.latency_s;
  shape.columns_cv = cluster.tools.latency_cv;
  shape.worker_life_s = cluster.failures.per_hour > 0 ? 3600 * shape.workers / cluster.failures.per_hour : 0;
  shape.restart_s = cluster.failures.restart_s;
  shape.lengths.clear();
  shape.mean_tokens = cluster.lengths.mean;
  shape.length_cv = cluster.lengths.cv;
  if (cluster.lengths.max > 0)
    shape.max_tokens = std::min(shape.max_tokens, cluster.lengths.max);
  return shape;
}

} // namespace millrace::pipeline
