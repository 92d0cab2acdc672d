#include "tools/rank_probe.hpp"

#include "runtime/collective/gloo_group.hpp"
#include "runtime/collective/group_source.hpp"
#include "runtime/train/learner.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace millrace::tools {
namespace {

constexpr int probed_steps = 3;
constexpr std::int64_t most_probed_numbers = 16'000'000, most_block_numbers = 64'000'000, most_probed_tokens = 256;
constexpr std::int64_t probed_prompt = 16, probed_answers = 4;

/// The block that a parameter belongs to; -1: none.
std::int64_t block_of(const std::string& name) {
  constexpr std::string_view blocks = "model.layers.";
  return name.starts_with(blocks) ? std::atoll(name.c_str() + blocks.size()) : -1;
}

std::int64_t block_numbers(const model::checkpoint& shape) {
  std::int64_t numbers = 0;
  for (const auto& one : shape.parameters)
    numbers += block_of(one.name) == 0 ? one.tensor.numel() : 0;
  return numbers;
}

struct random_model {
  model::model_config config;
  model::weights parameters;
  std::int64_t numbers = 0;
};

random_model small_model(const model::checkpoint& shape) {
  std::int64_t all = 0;
  for (const auto& one : shape.parameters)
    all += one.tensor.numel();
  const double share = std::min(1.0, static_cast<double>(most_probed_numbers) / static_cast<double>(all));
  random_model made{.config = shape.config, .parameters = {}, .numbers = 0};
  auto& config = made.config;
  const auto part_of = [&](std::int64_t count) {
    return std::max<std::int64_t>(1, std::llround(share * static_cast<double>(count)));
  };
  config.layers = part_of(config.layers);
  config.vocab_size = std::max(std::min<std::int64_t>(config.vocab_size, 64), part_of(config.vocab_size));
  for (const auto& [name, tensor] : shape.parameters) {
    if (block_of(name) >= config.layers)
      continue;
    auto sizes = tensor.sizes().vec();
    if (sizes.at(0) == shape.config.vocab_size)
      sizes[0] = config.vocab_size;
    const bool norm = sizes.size() == 1;
    made.parameters.push_back(
        {name, norm ? at::ones(sizes) : at::randn(sizes) / std::sqrt(static_cast<double>(sizes.back()))});
    made.numbers += made.parameters.back().tensor.numel();
  }
  return made;
}

std::vector<train::training_group> random_groups(std::int64_t count, std::int64_t tokens, std::int64_t vocabulary) {
  std::vector<train::training_group> groups;
  std::int64_t next = 0;
  const auto some = [&](std::int64_t length) {
    std::vector<std::int32_t> drawn;
    for (std::int64_t i = 0; i < length; ++i)
      drawn.push_back(static_cast<std::int32_t>(next++ * 7919 % vocabulary));
    return drawn;
  };
  for (std::int64_t g = 0; g < count; ++g) {
    auto& group = groups.emplace_back();
    group.id = static_cast<std::uint64_t>(g);
    group.prompt = some(probed_prompt);
    for (std::int64_t a = 0; a < probed_answers; ++a) {
      const auto& answer = group.answers.emplace_back(some((tokens - probed_prompt) / probed_answers + 1));
      group.behaviour_logprob.emplace_back(answer.size(), -1.0f);
      group.version.emplace_back(answer.size(), 0u);
      group.reward.push_back(static_cast<float>(a % 2));
    }
  }
  return groups;
}

/// One group of ranks, and then none.
class only_group : public collective::group_source {
public:
  explicit only_group(std::shared_ptr<collective::group> ranks) : ranks_(std::move(ranks)) {}

  std::shared_ptr<collective::group> group_after(std::shared_ptr<collective::group> last) override {
    return last ? nullptr : ranks_;
  }

private:
  std::shared_ptr<collective::group> ranks_;
};

std::vector<std::shared_ptr<collective::group>> connected(int ranks) {
  std::vector<std::shared_ptr<collective::rendezvous>> words;
  for (int own = 0; own < ranks; ++own) // each hears what another says
    words.push_back(
        std::make_shared<collective::rendezvous>([&words, own](const std::string& key, const std::string& value) {
          for (int other = 0; other < std::ssize(words); ++other)
            if (other != own)
              words[static_cast<std::size_t>(other)]->told(key, value);
        }));
  std::vector<std::future<std::unique_ptr<collective::group>>> coming;
  for (int rank = 0; rank < ranks; ++rank)
    coming.push_back(std::async(std::launch::async, [&words, rank, ranks] {
      return collective::connect_gloo({.rank = rank, .size = ranks}, words[static_cast<std::size_t>(rank)]);
    }));
  std::vector<std::shared_ptr<collective::group>> groups;
  for (auto& one : coming)
    groups.emplace_back(one.get());
  return groups;
}

/// The shortest of some steps.
struct step_seconds {
  double passes = 0; ///< forward and backward
  double rest = 0;
};

step_seconds seconds_of(train::learner& learner, const std::vector<train::training_group>& groups) {
  step_seconds best;
  for (int i = 0; i <= probed_steps; ++i) {
    const auto report = learner.step(groups, 0);
    const double passes = report.forward_s + report.backward_s, rest = report.total_s - passes;
    if (i <= 1) // the first one warms up
      best = {passes, rest};
    best = {std::min(best.passes, passes), std::min(best.rest, rest)};
  }
  return best;
}

/// Steps of one micro-batch a rank, and of three.
struct rounds_seconds {
  step_seconds one, three;

  /// Of a round that is not the first: that one also comes to its memory anew.
  double passes() const { return (three.passes - one.passes) / 2; }

  double round() const { return std::max(0.0, (three.rest - one.rest) / 2); }

  double update() const { return one.rest - round(); }
};

class probe {
public:
  probe(const model::checkpoint& shape, const rank_probe& wanted)
      : model_(small_model(shape)), wanted_(wanted),
        tokens_(std::clamp(std::min(wanted.micro_batch_tokens, model_.config.max_positions - 1), 2 * probed_prompt,
                           most_probed_tokens)) {
    options_.algorithm = "grpo";
    options_.skip_flat_groups = false;
    options_.micro_batch_tokens = tokens_ + probed_answers;
    options_.threads = wanted.threads;
    options_.device = "cpu";
    options_.activations = wanted.activation_checkpointing ? model::activations::recomputed : model::activations::kept;
    options_.computes = wanted.compute_dtype;
    options_.rounds_weights = wanted.rounds_weights;
  }

  rounds_seconds alone() const {
    return std::async(std::launch::async,
                      [&] {
                        return rounds_of({model_.config, model_.parameters, options_}, 1);
                      })
        .get();
  }

  rounds_seconds together() const {
    const auto ranks = connected(wanted_.ranks);
    std::vector<std::future<void>> others;
    for (int rank = 1; rank < wanted_.ranks; ++rank)
      others.push_back(std::async(std::launch::async, [&, rank] { learner_of(ranks, rank).follow(); }));
    const auto found =
        std::async(std::launch::async, [&] { return rounds_of(learner_of(ranks, 0), wanted_.ranks); }).get();
    for (const auto& one : ranks)
      one->abort("measured");
    for (auto& one : others)
      one.get();
    return found;
  }

  double numbers() const { return static_cast<double>(model_.numbers); }

private:
  rounds_seconds rounds_of(train::learner first, std::int64_t ranks) const {
    const auto groups = [&](std::int64_t rounds) {
      return random_groups(rounds * ranks, tokens_, model_.config.vocab_size);
    };
    return {.one = seconds_of(first, groups(1)), .three = seconds_of(first, groups(3))};
  }

  train::learner learner_of(const std::vector<std::shared_ptr<collective::group>>& ranks, int rank) const {
    auto options = options_;
    options.seat = {.place = {.rank = rank, .size = wanted_.ranks, .shard = wanted_.shard},
                    .others = std::make_shared<only_group>(ranks[static_cast<std::size_t>(rank)])};
    return {model_.config, model_.parameters, options};
  }

  random_model model_;
  rank_probe wanted_;
  std::int64_t tokens_;
  train::learner_options options_;
};

} // namespace

bool measures_ranks(const model::checkpoint& shape) {
  return block_numbers(shape) <= most_block_numbers;
}

rank_costs measure_ranks(const model::checkpoint& shape, const rank_probe& wanted) {
  const probe of(shape, wanted);
  const auto alone = of.alone();
  const auto together = of.together();
  return {.contention = std::max(1.0, together.passes() / alone.passes()),
          .round_number_s = std::max(0.0, together.round() - alone.round()) / of.numbers(),
          .update_number_s = (together.update() - alone.update()) / of.numbers()};
}

} // namespace millrace::tools
