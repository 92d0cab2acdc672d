// A rollout's cache of keys and values, bounded to a share of what a job wants, against no bound: the same tokens and
// log-probabilities bit for bit, and tokens for each second of CPU time. Prints one JSON line a cache.
//
//   bench_cache MODEL [--threads N] [--slots N] [--groups N] [--answers N] [--prompt-tokens N] [--new-tokens N]
//               [--common-tokens N] [--repeat N] [--percent N]... [--prefix-cache on|off]
//
// No bound means no cache of prefixes either; --percent 100 shows what that one brings. Prompts have the first
// --common-tokens in common, and nothing else. Lengths of answers are geometric, cut at four times their mean
// (--new-tokens): so answers end at different times, as they do in a run. The best of --repeat rounds counts, taken in
// turns.

#include "runtime/model/checkpoint.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/rollout/engine.hpp"
#include "runtime/train/trainable.hpp"
#include "tools/command_line.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

namespace {

using namespace millrace;

struct cache_arguments {
  std::string path, prefix_cache = "on";
  int threads = 1, repeat = 1;
  std::int32_t slots = 32, groups = 64, answers = 1;
  std::int64_t prompt_tokens = 64, common_tokens = 0, new_tokens = 96;
  std::vector<int> percents{25}; ///< of what the job wants
};

std::vector<rollout::group_request> job_of(const cache_arguments& given, std::int64_t vocabulary) {
  std::mt19937 random(7);
  std::vector<rollout::group_request> job;
  for (std::int32_t g = 0; g < given.groups; ++g) {
    rollout::group_request one;
    one.group = static_cast<std::uint64_t>(g);
    one.answers = given.answers;
    one.seed = 100 + static_cast<std::uint64_t>(g);
    for (std::int64_t t = 0; t < given.prompt_tokens; ++t)
      one.prompt.push_back(
          static_cast<std::int32_t>((t * 7919 + (t < given.common_tokens ? 0 : g + 1) * 104729 + 13) % vocabulary));
    const double drawn = (static_cast<double>(random()) + 0.5) / 4294967296.0;
    one.how.max_new_tokens = std::clamp<std::int64_t>(
        std::llround(-std::log(drawn) * static_cast<double>(given.new_tokens)), 1, 4 * given.new_tokens);
    job.push_back(std::move(one));
  }
  return job;
}

struct outcome {
  std::map<std::uint64_t, std::vector<rollout::answer>> answers;
  std::int64_t sampled = 0, computed = 0, found = 0, put_back = 0, bytes = 0;
  double cpu_s = 0;
};

bool same(const outcome& a, const outcome& b) {
  return std::ranges::equal(a.answers, b.answers, [](const auto& x, const auto& y) {
    return std::ranges::equal(x.second, y.second, [](const auto& p, const auto& q) {
      return p.tokens == q.tokens && p.logprob == q.logprob;
    });
  });
}

outcome generate(const std::shared_ptr<const model::decoder>& policy, const std::vector<rollout::group_request>& job,
                 rollout::engine_options options) {
  rollout::engine engine(policy, nullptr, 0, options);
  for (const auto& one : job)
    engine.admit(one);
  outcome done;
  const auto start = std::clock();
  while (!engine.idle()) {
    for (auto& group : engine.step())
      done.answers[group.group] = std::move(group.answers);
    const auto& step = engine.last_step();
    done.sampled += step.sampled_tokens;
    done.computed += step.prompt_tokens;
    done.found += step.found_tokens;
  }
  done.cpu_s = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  done.bytes = engine.cache_bytes();
  for (const auto& [group, answers] : done.answers)
    for (const auto& one : answers)
      done.put_back += std::ssize(one.recomputed);
  return done;
}

int measure(const cache_arguments& given) {
  auto loaded = model::load_checkpoint(given.path);
  const auto policy = model::inference_decoder(loaded.config, std::exchange(loaded.parameters, {}), at::kCPU,
                                               sampling_precision::float32);
  const auto job = job_of(given, loaded.config.vocab_size);
  const rollout::engine_options unbounded{.slots = given.slots,
                                          .max_context = given.prompt_tokens + 4 * given.new_tokens,
                                          .threads = given.threads,
                                          .prefix_cache = given.prefix_cache == "on"};
  auto wants = unbounded;
  wants.prefix_cache = false; // what nobody uses is not wanted
  std::vector<outcome> best(1 + given.percents.size());
  for (int round = 0; round < given.repeat; ++round)
    for (std::size_t i = 0; i < best.size(); ++i) {
      auto options = i == 0 ? wants : unbounded;
      if (i > 0)
        options.cache_bytes = std::llround(given.percents[i - 1] / 100.0 * static_cast<double>(best[0].bytes));
      auto done = generate(policy, job, options);
      if (round == 0 || done.cpu_s < best[i].cpu_s)
        best[i] = std::move(done);
    }
  const auto rate = [](const outcome& one) { return static_cast<double>(one.sampled) / one.cpu_s; };
  for (std::size_t i = 0; i < best.size(); ++i) {
    const auto& one = best[i];
    std::printf(
        "{\"percent\":%d,\"cache_mib\":%.1f,\"tokens\":%lld,\"cpu_s\":%.2f,\"tokens_per_cpu_s\":%.1f,\"ratio\":%.3f,"
        "\"same_bits\":%s,\"put_back\":%lld,\"tokens_computed\":%lld,\"tokens_found\":%lld}\n",
        i == 0 ? 100 : given.percents[i - 1], static_cast<double>(one.bytes) / 1048576.0,
        static_cast<long long>(one.sampled), one.cpu_s, rate(one), rate(one) / rate(best[0]),
        same(one, best[0]) ? "true" : "false", static_cast<long long>(one.put_back),
        static_cast<long long>(one.computed), static_cast<long long>(one.found));
  }
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  cache_arguments given;
  const tools::command only{
      .name = "bench_cache",
      .help = "A bounded cache against no bound",
      .arguments = {{.name = "model", .to = &given.path, .required = true},
                    {.name = "--threads", .to = &given.threads},
                    {.name = "--slots", .to = &given.slots},
                    {.name = "--groups", .to = &given.groups},
                    {.name = "--answers", .to = &given.answers, .help = "Of each group"},
                    {.name = "--prompt-tokens", .to = &given.prompt_tokens},
                    {.name = "--common-tokens", .to = &given.common_tokens, .help = "That all prompts begin with"},
                    {.name = "--new-tokens", .to = &given.new_tokens, .help = "Mean length of an answer"},
                    {.name = "--percent", .to = &given.percents, .help = "Of the bytes that the job wants"},
                    {.name = "--prefix-cache", .to = &given.prefix_cache, .one_of = {"on", "off"}},
                    {.name = "--repeat", .to = &given.repeat}},
      .run = [&given] { return measure(given); }};
  return tools::run_program(only, argc, argv);
}
