#include "tools/machine_costs.hpp"

#include "actors/coordination.hpp"
#include "actors/learning.hpp"
#include "actors/role_model.hpp"
#include "actors/rollout_requests.hpp"
#include "actors/source.hpp"
#include "actors/weights_bundle.hpp"
#include "runtime/cores.hpp"
#include "runtime/input_error.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/telemetry/trace.hpp"
#include "runtime/train/trainable.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <thread>

namespace millrace::tools {
namespace {

using telemetry::now_s;

constexpr std::uint64_t largest_model = 2'000'000'000; // bytes
constexpr double answering_s = 4;                      // for lengths

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.at(values.size() / 2);
}

/// The pipeline's own prompts as the rollout asks for them.
class prompts {
public:
  prompts(const pipeline::pipeline& p, const pipeline::rollout_table& table, const model::checkpoint& words)
      : requests_(p, table, words), source_(p, *p.of<pipeline::source_table>().at(0), std::nullopt),
        answers_(static_cast<std::int32_t>(table.answers_per_prompt)), seed_(static_cast<std::uint64_t>(p.run.seed)) {}

  rollout::group_request next() {
    const auto row = source_.take(group_);
    if (row.exhausted)
      throw input_error("plan: the source has fewer prompts than measuring takes, want --trace, --cluster or --costs");
    actors::generate_group ask;
    ask.group = group_++;
    ask.prompt = row.prompt;
    ask.answers = answers_;
    ask.seed = actors::group_seed(seed_, ask.group);
    return requests_.make(ask);
  }
  rollout::engine_options options(int threads) const { return requests_.engine_options(threads); }

private:
  actors::rollout_requests requests_;
  actors::source_state source_;
  std::int32_t answers_;
  std::uint64_t seed_;
  std::uint64_t group_ = 0;
};

using policy_pointer = std::shared_ptr<const model::decoder>;

/// Admits groups until every slot has an answer, and computes their prompts. @returns seconds a group
double fill(rollout::engine& engine, prompts& from, std::int32_t slots) {
  std::int64_t groups = 0;
  for (std::int64_t answers = 0; answers < slots; ++groups) {
    auto request = from.next();
    request.how.stop.clear();
    request.how.end_tokens.clear(); // nobody leaves
    answers += request.answers;
    engine.admit(std::move(request));
  }
  double seconds = 0;
  for (int i = 0; i < 1000; ++i) {
    engine.step();
    seconds += engine.last_step().prefill_s;
    if (engine.last_step().prompt_tokens == 0)
      break;
  }
  return seconds / static_cast<double>(groups);
}

/// Seconds of a decode step, the median of up to 20 of them within half a second.
double step_s(rollout::engine& engine) {
  std::vector<double> steps;
  const double begin = now_s();
  while (!engine.idle() && (steps.size() < 3 || (steps.size() < 20 && now_s() - begin < 0.5))) {
    const double start = now_s();
    engine.step();
    steps.push_back(now_s() - start);
  }
  return steps.empty() ? 0 : median(std::move(steps));
}

struct answered {
  std::vector<rollout::finished_group> groups;
  std::map<std::uint64_t, std::vector<std::int32_t>> prompts;
  bool all = true; ///< they ended within the time
};

answered answer(const policy_pointer& policy, const model::checkpoint& words, prompts& from, rollout::engine_options options, std::int64_t groups) {
  answered out;
  rollout::engine engine(policy, words.tok, 0, options);
  for (std::int64_t i = 0; i < groups; ++i) {
    auto request = from.next();
    out.prompts[request.group] = request.prompt;
    engine.admit(std::move(request));
  }
  const double begin = now_s();
  while (!engine.idle() && (now_s() - begin < answering_s || out.groups.empty()))
    for (auto& group : engine.step())
      out.groups.push_back(std::move(group));
  out.all = engine.idle();
  return out;
}

train::training_group to_train(const rollout::finished_group& group, const std::vector<std::int32_t>& prompt, std::uint64_t id, bool critic) {
  train::training_group made;
  made.id = id;
  made.prompt = prompt;
  for (const auto& answer : group.answers) {
    made.answers.push_back(answer.tokens);
    made.behaviour_logprob.push_back(answer.logprob);
    made.version.emplace_back(answer.tokens.size(), 0u);
    made.ref_logprob.push_back(answer.logprob);
    if (critic)
      made.value.emplace_back(answer.tokens.size(), 0.0f);
    made.reward.push_back(static_cast<float>(made.reward.size() % 2)); // rewards that differ: there is something to learn
  }
  return made;
}

} // namespace

machine_costs measure_machine(const pipeline::pipeline& p, schedule::workload shape) {
  machine_costs found{std::move(shape), {}};
  auto& costs = found.costs;
  const auto& role = *p.of<pipeline::rollout_table>().at(0);
  const auto& table = std::get<pipeline::rollout_table>(role.options);
  const auto& path = p.models.at(table.model).path;
  std::uint64_t bytes = 0;
  const auto count = [&](const std::filesystem::path& file) { bytes += std::filesystem::is_regular_file(file) ? std::filesystem::file_size(file) : 0; };
  if (std::filesystem::is_directory(path))
    for (const auto& entry : std::filesystem::directory_iterator(path))
      count(entry.path());
  else
    count(path);
  if (bytes > largest_model)
    throw input_error("plan: " + path.string() + " is " + std::to_string(bytes / 100'000'000 / 10.0).substr(0, 4) +
                      " GB, too large to measure in a few seconds, want --trace RUN, --cluster NAME or --costs");

  const auto cores = cores_here();
  const int rollout_threads = static_cast<int>(pipeline::threads_of(p, role.name, cores));
  const int policy_threads = static_cast<int>(pipeline::threads_of(p, p.policy().name, cores));
  auto words = actors::load_model(p, table.model, true);
  double begin = now_s();
  const at::Device device = train::device_named(p.run.device);
  const policy_pointer policy = model::inference_decoder(words.config, std::exchange(words.parameters, {}), device);
  prompts from(p, table, words);

  // Decode steps by occupied slots.
  const auto options = from.options(rollout_threads);
  costs.decode.clear();
  for (const std::int32_t slots : {1, 2, std::max(3, options.slots / 2), std::max(4, options.slots)}) {
    auto some = options;
    some.slots = slots;
    rollout::engine engine(policy, words.tok, 0, some);
    costs.prefill_s = fill(engine, from, slots);
    const auto seconds = step_s(engine);
    if (seconds > 0 && (costs.decode.empty() || slots > costs.decode.back().occupied))
      costs.decode.push_back({static_cast<double>(slots), std::max(seconds, costs.decode.empty() ? 0.0 : costs.decode.back().step_s)});
  }

  // Lengths, and the groups to train on.
  auto groups = answer(policy, words, from, options, std::max<std::int64_t>(2, options.slots / std::max<std::int64_t>(1, table.answers_per_prompt)));
  costs.lengths.clear();
  if (groups.all) {
    for (const auto& group : groups.groups) {
      auto& row = costs.lengths.emplace_back();
      for (const auto& one : group.answers)
        row.push_back(static_cast<std::int32_t>(one.tokens.size()));
    }
    found.notes.push_back("lengths are those of " + std::to_string(groups.groups.size()) + " prompts under the model's first weights");
  } else {
    costs.mean_tokens = costs.max_tokens;
    costs.length_cv = 0;
    found.notes.push_back("answers did not end within " + std::to_string(static_cast<int>(answering_s)) +
                          " seconds: every one counts as max_new_tokens long; --trace lengths.csv says it better");
  }

  // Training: a group to warm up, the same again, two groups.
  actors::learning learning(p, {}, policy_threads);
  std::uint32_t steps = 0;
  const bool critic = !p.of<pipeline::critic_table>().empty();
  const auto train = [&](std::size_t how_many) {
    std::vector<std::uint64_t> ids;
    std::int64_t tokens = 0;
    for (std::size_t i = 0; i < how_many; ++i) {
      const auto& group = groups.groups[i % groups.groups.size()];
      auto made = to_train(group, groups.prompts.at(group.group), 1000 * steps + i, critic);
      ids.push_back(made.id);
      for (const auto& one : made.answers)
        tokens += static_cast<std::int64_t>(one.size());
      learning.keep(std::move(made));
    }
    const double start = now_s();
    learning.train({steps + 1, steps, ids}, {});
    ++steps;
    return std::pair{now_s() - start, static_cast<double>(tokens)};
  };
  const auto first = train(1);
  const auto one = train(1), two = train(2);
  costs.train_token_s = std::max(0.0, two.second > one.second ? (two.first - one.first) / (two.second - one.second) : one.first / one.second);
  costs.train_s = std::max(0.0, one.first - costs.train_token_s * one.second);
  costs.first_train_s = std::max(0.0, first.first - one.first);

  // Publication: the copy, then what generation computes with.
  begin = now_s();
  const auto snapshot = learning.snapshot(steps);
  costs.copy_s = now_s() - begin;
  begin = now_s();
  model::inference_decoder(words.config, actors::weights_of(snapshot), device);
  costs.stage_s = now_s() - begin;

  // Both at once, if they would share this machine.
  const auto placed = p.placement.roles.find(role.name);
  if (p.schedule.place.mode == "timeshare" || (placed != p.placement.roles.end() && !placed->second.hosts.empty()))
    return found;
  rollout::engine engine(policy, words.tok, 0, options);
  fill(engine, from, options.slots);
  const double alone = step_s(engine);
  std::atomic<bool> trained{false};
  double beside_train = 0;
  std::thread other([&] {
    beside_train = train(1).first;
    trained = true;
  });
  std::vector<double> beside;
  while (!trained && !engine.idle()) {
    const double start = now_s();
    engine.step();
    beside.push_back(now_s() - start);
  }
  const bool whole = trained;
  other.join();
  if (alone > 0 && beside.size() >= 3)
    costs.contention = std::max(1.0, median(std::move(beside)) / alone);
  if (whole)
    costs.train_contention = std::max(1.0, beside_train / one.first);
  else
    found.notes.push_back("generation ended before a group was trained: how much it slows training down was not measured");
  for (const auto& stage : p.roles)
    if (std::holds_alternative<pipeline::reward_model_table>(stage.options) || std::holds_alternative<pipeline::reference_table>(stage.options) ||
        std::holds_alternative<pipeline::critic_table>(stage.options))
      found.notes.push_back("the time of " + stage.name + " was not measured and counts as nothing");
  return found;
}

} // namespace millrace::tools
