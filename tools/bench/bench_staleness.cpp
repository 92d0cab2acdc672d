// What stale samples cost and what corrections give back: a random decoder learns, from scratch, to answer each of four
// prompts with a word of its own. Groups of step t are sampled, exactly, by the weights of step t - staleness; a step
// makes two updates on halves of its groups. For each staleness and each way of correcting: the reward of the final
// policy, mean and standard deviation over seeds. Prints a Markdown table.

#include "runtime/model/decoder.hpp"
#include "runtime/train/learner.hpp"
#include "tools/bench/tiny_policy.hpp"
#include "tools/command_line.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <deque>
#include <random>
#include <string>
#include <vector>

using namespace millrace;

namespace {

constexpr std::int32_t first_prompt = 2, prompts = 4, first_wanted = 10, vocab = 20;

struct way {
  const char* name;
  algorithms::proximal against;
  const char* correction; ///< nullptr: none
  std::map<std::string, double> constants;
};

/// Decoupled is AReaL's: the whole weight against the sampler, tokens above 5 masked.
const std::vector<way> ways{
    {"none", algorithms::proximal::recomputed, nullptr, {}},
    {"PPO against the sampler", algorithms::proximal::behaviour, nullptr, {}},
    {"truncated at 2", algorithms::proximal::recomputed, "truncated", {{"cap", 2}}},
    {"decoupled", algorithms::proximal::recomputed, "masked", {{"low", 0}, {"high", 5}}},
    {"masked to 0.5..2", algorithms::proximal::recomputed, "masked", {{"low", 0.5}, {"high", 2}}},
};

/// Answers to one prompt, rewarded by the share of that prompt's own word.
train::training_group sample(const model::decoder& decoder, std::int32_t which, std::mt19937_64& random,
                             std::uint32_t version) {
  train::training_group group = tools::sample_group(decoder, first_prompt + which, random, version);
  for (std::size_t a = 0; a < group.answers.size(); ++a)
    group.reward[a] =
        static_cast<float>(std::count(group.answers[a].begin(), group.answers[a].end(), first_wanted + which))
        / static_cast<float>(group.answers[a].size());
  return group;
}

model::weights copy_of(const model::weights& w) {
  model::weights out;
  for (const auto& p : w)
    out.push_back({p.name, p.tensor.detach().clone()});
  return out;
}

/// Reward of the final policy, over 16 groups.
double train_once(const way& how, std::uint32_t staleness, std::uint32_t steps, double lr, std::uint64_t seed) {
  const auto config = tools::tiny_llama(vocab);
  train::learner_options options;
  options.device = "cpu";
  options.threads = 1;
  options.optimizer.lr = lr;
  options.updates_per_batch = 2;
  options.loss.against = how.against;
  if (how.correction) {
    const auto* row = algorithms::find_correction(how.correction);
    options.loss.corrections.push_back({row, algorithms::hyperparameter_values(row->options, how.constants)});
  }
  train::learner learner(config, tools::tiny_weights(config, seed), options);
  std::mt19937_64 random(seed);
  std::deque<model::weights> kept; // the oldest is `staleness` steps old
  for (std::uint32_t step = 0; step < steps; ++step) {
    kept.push_back(copy_of(learner.parameters()));
    if (kept.size() > staleness + 1)
      kept.pop_front();
    const model::decoder stale(config, kept.front());
    std::vector<train::training_group> groups;
    for (std::int32_t p = 0; p < prompts; ++p)
      groups.push_back(sample(stale, p, random, step + 1 - static_cast<std::uint32_t>(kept.size())));
    learner.step(groups, step);
  }
  const model::decoder final_policy(config, learner.parameters());
  double reward = 0;
  for (std::int32_t i = 0; i < 16; ++i)
    for (const float r : sample(final_policy, i % prompts, random, steps).reward)
      reward += r / (16.0 * tools::tiny_answers);
  return reward;
}

} // namespace

namespace {

struct staleness_arguments {
  std::uint32_t steps = 60;
  int seeds = 5;
  double lr = 1e-2;
};

int print_table(const staleness_arguments& given) {
  const auto start = std::chrono::steady_clock::now();
  std::string header = "| staleness |", rule = "|---|";
  for (const auto& how : ways) {
    header += " " + std::string(how.name) + " |";
    rule += "---|";
  }
  std::printf("%s\n%s\n", header.c_str(), rule.c_str());
  for (const std::uint32_t staleness : {0u, 1u, 2u, 4u, 8u, 16u}) {
    std::printf("| %u |", staleness);
    for (const auto& how : ways) {
      double sum = 0, squares = 0;
      for (int seed = 1; seed <= given.seeds; ++seed) {
        const double reward = train_once(how, staleness, given.steps, given.lr, static_cast<std::uint64_t>(seed));
        sum += reward;
        squares += reward * reward;
      }
      const double mean = sum / given.seeds;
      std::printf(" %.2f ± %.2f |", mean, std::sqrt(std::max(0.0, squares / given.seeds - mean * mean)));
      std::fflush(stdout);
    }
    std::printf("\n");
  }
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::fprintf(stderr, "%.1f s a point of %d seeds\n", took / (6.0 * static_cast<double>(ways.size())), given.seeds);
  return 0;
}

} // namespace

int main(int argc, char** argv) {
  staleness_arguments given;
  const tools::command only{
      .name = "bench_staleness",
      .help = "Final reward by staleness and correction",
      .arguments = {{.name = "--steps", .to = &given.steps, .help = "Steps of a run", .shows_default = true},
                    {.name = "--seeds", .to = &given.seeds, .help = "Runs of a point", .shows_default = true},
                    {.name = "--lr", .to = &given.lr, .help = "Learning rate", .shows_default = true}},
      .run = [&given] { return print_table(given); }};
  return tools::run_program(only, argc, argv);
}
