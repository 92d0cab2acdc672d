#include "tools/machine_costs.hpp"

#include "runtime/columns/answer_columns.hpp"
#include "runtime/columns/prompt_columns.hpp"
#include "runtime/columns/weights_bundle.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/roles/environment_role.hpp"
#include "runtime/roles/group_seed.hpp"
#include "runtime/roles/policy_core.hpp"
#include "runtime/roles/role_model.hpp"
#include "runtime/roles/rollout_requests.hpp"
#include "runtime/roles/source_role.hpp"
#include "runtime/telemetry/trace.hpp"
#include "runtime/train/trainable.hpp"
#include "runtime/words/cores.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/measured_environment.hpp"
#include "tools/measured_rules.hpp"
#include "tools/measured_training.hpp"
#include "tools/median.hpp"

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <thread>

namespace millrace::tools {
namespace {

using telemetry::now_s;

constexpr std::uint64_t largest_model = 2'000'000'000; // bytes
constexpr double answering_s = 4;                      // of decoding, for lengths
constexpr double training_for_s = 2.5;                 // one training of several groups
constexpr double repeating_for_s = 6;                  // trainings of as many groups, of which the median counts
constexpr double playing_s = 60;                       // the same, with what environments take to reply

/// The pipeline's own prompts as the rollout asks for them.
class prompts {
public:
  prompts(const pipeline::pipeline& p, const pipeline::rollout_table& table, const model::checkpoint& words)
      : words_(words), requests_(p, table, words), source_(p, *p.of<pipeline::source_table>().at(0), std::nullopt),
        answers_(static_cast<std::int32_t>(table.answers_per_prompt)), seed_(static_cast<std::uint64_t>(p.run.seed)) {
    if (!table.environment.empty())
      plays_.emplace(p, table, words_);
  }

  rollout::group_request next() { return std::move(next(1).front()); }

  /// So many groups, whose episodes begin beside each other.
  std::vector<rollout::group_request> next(std::int64_t count) {
    std::vector<generate_group> asked;
    for (std::int64_t i = 0; i < count; ++i) {
      const auto taken = source_.take(group_);
      if (taken.row.exhausted)
        throw input_error(
            "plan: the source has fewer prompts than measuring takes, want --trace, --cluster or --costs");
      auto& ask = asked.emplace_back();
      ask.group = group_++;
      ask.answers = answers_;
      ask.seed = roles::group_seed(seed_, ask.group);
      rows_[ask.group] = taken.columns;
      if (plays_)
        plays_->begin(ask.group, roles::episode_row_of(row_of(ask.group)), answers_ + requests_.greedy(), ask.seed);
    }
    const auto begun = plays_ ? plays_->begun(begin_s_) : std::map<std::uint64_t, environments::beginning>();
    std::vector<rollout::group_request> made;
    for (const auto& ask : asked)
      made.push_back(plays_ ? requests_.make(ask, begun.at(ask.group).prompt, begun.at(ask.group).tools)
                            : requests_.make(ask, row_of(ask.group).prompt));
    return made;
  }

  /// Until the episodes of a group had begun: the mean of those that were asked for last; 0 without an environment.
  double begin_s() const { return begin_s_; }

  /// nullptr: answers are no episodes.
  measured_environment* plays() { return plays_ ? &*plays_ : nullptr; }

  rollout::engine_options options(int threads) const { return requests_.engine_options(threads); }

  /// A group's columns, as verifiers read them.
  columns::column_set columns_of(const rollout::finished_group& group, const std::vector<std::int32_t>& prompt) const {
    return columns::column_set(
        std::vector{rows_.at(group.group),
                    columns::columns_of(prompt, group, requests_.greedy(), plays_ ? &*words_.tok : nullptr)});
  }

private:
  columns::prompt_content row_of(std::uint64_t group) const {
    return columns::content_of(columns::column_set(rows_.at(group)));
  }

  const model::checkpoint& words_;
  std::map<std::uint64_t, transport::bundle> rows_; ///< the source's columns by group
  double begin_s_ = 0;
  roles::rollout_requests requests_;
  roles::source_role source_;
  std::int32_t answers_;
  std::uint64_t seed_;
  std::uint64_t group_ = 0;
  std::optional<measured_environment> plays_;
};

using policy_pointer = std::shared_ptr<const model::decoder>;

/// Admits groups until every slot has an answer, and computes their prompts. @returns seconds a group
double fill(rollout::engine& engine, prompts& from, std::int32_t slots) {
  std::int64_t groups = 0;
  for (std::int64_t answers = 0; answers < slots; ++groups) {
    auto request = from.next();
    request.how.stop.clear();
    request.how.end_tokens.clear(); // nobody leaves
    request.how.max_turn_tokens = 0;
    if (auto* plays = std::exchange(request.episodes, false) ? from.plays() : nullptr)
      plays->end(request.group);
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

struct answered : answered_groups {
  bool all = true;      ///< they ended within the time
  double reading_s = 0; ///< of steps beside those of decoding alone, that computed what environments said
  double read = 0;      ///< tokens computed in them
};

/// A step of an engine whose answers are episodes.
void step_played(rollout::engine& engine, measured_environment& with, const schedule::workload& costs, answered& out) {
  const bool replied = !with.figures().seconds.empty();
  const double start = now_s();
  for (auto& group : engine.step())
    out.groups.push_back(std::move(group));
  const auto& done = engine.last_step();
  if (replied && done.prompt_tokens > 0) {
    out.reading_s += now_s() - start - schedule::decode_step_s(costs, static_cast<double>(done.sampled_tokens));
    out.read += static_cast<double>(done.prompt_tokens);
  }
  with.ask(engine);
}

/// Plays until every episode has ended, or the time is up and one has.
void play(rollout::engine& engine, measured_environment& with, const schedule::workload& costs, answered& out) {
  const double begin = now_s();
  double decoding_s = 0;
  while (!engine.idle() && ((decoding_s < answering_s && now_s() - begin < playing_s) || out.groups.empty())) {
    with.hear(engine);
    if (engine.waits())
      continue;
    const double start = now_s();
    step_played(engine, with, costs, out);
    decoding_s += now_s() - start;
  }
  if (out.groups.empty())
    throw input_error("plan: no episode came to an end; its environment: " + with.figures().first_failure);
}

answered answer(const policy_pointer& policy, const model::checkpoint& words, prompts& from,
                rollout::engine_options options, std::int64_t groups, const schedule::workload& costs) {
  answered out;
  rollout::engine engine(policy, words.tok, 0, options);
  for (auto& request : from.next(groups)) {
    out.prompts[request.group] = request.prompt;
    engine.admit(std::move(request));
  }
  const double begin = now_s();
  if (auto* with = from.plays())
    play(engine, *with, costs, out);
  else
    while (!engine.idle() && (now_s() - begin < answering_s || out.groups.empty()))
      for (auto& group : engine.step())
        out.groups.push_back(std::move(group));
  out.all = engine.idle();
  return out;
}

/// Bytes of a model's files.
std::uint64_t size_of(const std::filesystem::path& model) {
  std::uint64_t bytes = 0;
  const auto count = [&](const std::filesystem::path& file) {
    bytes += std::filesystem::is_regular_file(file) ? std::filesystem::file_size(file) : 0;
  };
  if (std::filesystem::is_directory(model))
    for (const auto& entry : std::filesystem::directory_iterator(model))
      count(entry.path());
  else
    count(model);
  return bytes;
}

/// @throws input_error for a model that takes longer than a few seconds
void refuse_large(const std::filesystem::path& model) {
  const auto bytes = size_of(model);
  if (bytes > largest_model)
    throw input_error("plan: " + model.string() + " is " + std::to_string(bytes / 100'000'000 / 10.0).substr(0, 4)
                      + " GB, too large to measure in a few seconds, want --trace RUN, --cluster NAME or --costs");
}

/// The pipeline's model, loaded for generation and for training, and what is measured with it.
class measurement {
public:
  measurement(const pipeline::pipeline& p, machine_costs& found)
      : p_(p), found_(found), role_(*p.of<pipeline::rollout_table>().at(0)),
        table_(std::get<pipeline::rollout_table>(role_.options)), device_(roles::device_for(p, role_)),
        words_(roles::load_model(p, table_.model, p.models.at(table_.model).dtype)),
        policy_(model::inference_decoder(words_.config, std::exchange(words_.parameters, {}), device_,
                                         p.models.at(table_.model).sampled_as())),
        from_(p, table_, words_),
        options_(from_.options(static_cast<int>(pipeline::threads_of(p, role_.name, cores_here())))) {}

  /// Decode steps by occupied slots, and the prompts of a group.
  void measure_decoding() {
    auto& decode = found_.costs.decode;
    decode.clear();
    for (const std::int32_t slots : {1, 2, std::max(3, options_.slots / 2), std::max(4, options_.slots)}) {
      auto some = options_;
      some.slots = slots;
      rollout::engine engine(policy_, words_.tok, 0, some);
      found_.costs.prefill_s = fill(engine, from_, slots);
      const auto seconds = step_s(engine);
      if (seconds > 0 && (decode.empty() || slots > decode.back().occupied))
        decode.push_back({static_cast<double>(slots), std::max(seconds, decode.empty() ? 0.0 : decode.back().step_s)});
    }
  }

  /// Lengths, and the groups to train on.
  void measure_lengths() {
    groups_ = answer(policy_, words_, from_, options_, groups_at_once(), found_.costs);
    auto& costs = found_.costs;
    if (from_.plays())
      take_replies(from_.plays()->figures(), from_.begin_s());
    costs.lengths.clear();
    if (groups_.all) {
      for (const auto& group : groups_.groups) {
        auto& row = costs.lengths.emplace_back();
        for (const auto& one : group.answers)
          row.push_back(static_cast<std::int32_t>(rollout::sampled_tokens(one)));
        if (!from_.plays())
          continue;
        auto& turns = costs.turns_played.emplace_back();
        for (const auto& one : group.answers)
          turns.push_back(static_cast<std::int32_t>(one.turns.size()));
      }
      found_.notes.push_back("lengths are those of " + std::to_string(groups_.groups.size())
                             + " prompts under the model's first weights");
    } else {
      costs.mean_tokens = costs.max_tokens;
      costs.length_cv = 0;
      found_.notes.push_back("answers did not end within " + std::to_string(static_cast<int>(answering_s))
                             + " seconds: every one counts as max_new_tokens long; --trace lengths.csv says it better");
    }
  }

  /// What the rules take for the groups that were answered.
  void measure_scoring() {
    std::vector<columns::column_set> groups;
    for (const auto& group : groups_.groups)
      if (groups.size() < measured_training::most_repeats)
        groups.push_back(from_.columns_of(group, groups_.prompts.at(group.group)));
    const auto measured = measured_scoring(p_, groups);
    found_.costs.columns_s = measured.seconds;
    found_.notes.insert(found_.notes.end(), measured.notes.begin(), measured.notes.end());
  }

  /// A group to warm up, the same again, as many as a few seconds are enough for. Whatever else the machine does for a
  /// moment counts for nothing: each is trained several times.
  void measure_training() {
    training_ = std::make_unique<measured_training>(p_, groups_);
    const auto first = training_->train(1);
    one_group_ = training_->train_often(1, repeating_for_s / 4);
    const auto groups = std::clamp<std::int64_t>(static_cast<std::int64_t>(training_for_s / one_group_.seconds), 2,
                                                 std::max<std::int64_t>(2, p_.schedule.groups_per_step));
    const auto more = training_->train_often(static_cast<std::size_t>(groups), repeating_for_s);
    const auto& one = one_group_;
    auto& costs = found_.costs;
    costs.train_token_s =
        std::max(0.0, more.tokens > one.tokens ? (more.seconds - one.seconds) / (more.tokens - one.tokens)
                                               : one.seconds / one.tokens);
    costs.train_s = std::max(0.0, one.seconds - costs.train_token_s * one.tokens);
    costs.first_train_s = std::max(0.0, first.seconds - one.seconds);
    costs.prompt_tokens = more.prompt_tokens / static_cast<double>(groups);
    found_.notes.insert(found_.notes.end(), training_->notes().begin(), training_->notes().end());
  }

  /// The copy, then what generation computes with.
  void measure_publication() {
    double begin = now_s();
    const auto snapshot = training_->snapshot();
    found_.costs.copy_s = now_s() - begin;
    begin = now_s();
    model::inference_decoder(words_.config, columns::weights_of(snapshot), device_,
                             p_.models.at(table_.model).sampled_as());
    found_.costs.layout_s = now_s() - begin;
  }

  /// Whether generation and training would run on this machine at the same time.
  bool share_machine() const {
    return p_.schedule.place.mode != schedule::place_mode::timeshare && p_.is_here(role_.name);
  }

  /// Decoding and training beside each other.
  void measure_contention() {
    rollout::engine engine(policy_, words_.tok, 0, options_);
    fill(engine, from_, options_.slots);
    const double alone = step_s(engine);
    std::atomic<bool> trained{false}, decodes{true};
    std::vector<double> beside_decoding;
    std::thread other([&] {
      const double begin = now_s();
      while (decodes && std::ssize(beside_decoding) < measured_training::most_repeats
             && now_s() - begin < repeating_for_s / 4)
        if (const double seconds = training_->train(1).seconds; decodes)
          beside_decoding.push_back(seconds);
      trained = true;
    });
    std::vector<double> beside_training;
    while (!trained && !engine.idle()) {
      const double start = now_s();
      engine.step();
      beside_training.push_back(now_s() - start);
    }
    decodes = false;
    other.join();
    if (alone > 0 && beside_training.size() >= 3)
      found_.costs.contention = std::max(1.0, median(std::move(beside_training)) / alone);
    if (!beside_decoding.empty())
      found_.costs.train_contention = std::max(1.0, median(std::move(beside_decoding)) / one_group_.seconds);
    else
      found_.notes.push_back(
          "generation ended before a group was trained: how much it slows training down was not measured");
  }

private:
  /// As many as a process of the rollout has open, as far as a few steps have so many: an environment that is asked by
  /// many takes longer to reply.
  std::int64_t groups_at_once() const {
    const auto per_prompt = std::max<std::int64_t>(1, table_.answers_per_prompt);
    const auto open = std::min(std::max<std::int64_t>(options_.slots, table_.open_episodes) / per_prompt,
                               std::max(options_.slots / per_prompt, 2 * p_.schedule.groups_per_step));
    return std::max<std::int64_t>(2, open);
  }

  /// Seconds to a reply, and tokens. Turns of episodes that did not end count as the most.
  void take_replies(const reply_figures& said, double begin_s) {
    auto& costs = found_.costs;
    costs.begin_s = begin_s;
    double turns = 0, episodes = 0;
    for (const auto& group : groups_.groups)
      for (const auto& one : group.answers) {
        turns += static_cast<double>(one.turns.size());
        ++episodes;
      }
    costs.turns = groups_.all ? turns / episodes : std::max(1.0, costs.max_turns);
    if (!said.seconds.empty()) {
      double sum = 0;
      for (const auto one : said.seconds)
        sum += one;
      costs.reply_s = sum / static_cast<double>(said.seconds.size());
      costs.replies_s = said.seconds;
    }
    if (said.said > 0)
      costs.observed_tokens = static_cast<double>(said.observed) / static_cast<double>(said.said);
    // With what was said, the last token of the turn before is computed, which a decode step has in it.
    if (groups_.read > 0 && costs.observed_tokens > 0)
      costs.resume_token_s = std::max(0.0, groups_.reading_s / groups_.read) * (1 + 1 / costs.observed_tokens);
    found_.notes.push_back("turns and replies are those of " + std::to_string(static_cast<std::int64_t>(episodes))
                           + " episodes, played here with " + table_.environment);
    if (said.failed_groups > 0)
      found_.notes.push_back(std::to_string(said.failed_groups)
                             + " groups of episodes failed, the first: " + said.first_failure);
  }

  const pipeline::pipeline& p_;
  machine_costs& found_;
  const pipeline::role& role_;
  const pipeline::rollout_table& table_;
  at::Device device_;
  model::checkpoint words_;
  policy_pointer policy_;
  prompts from_;
  rollout::engine_options options_;
  answered groups_;
  std::unique_ptr<measured_training> training_;
  trained_tokens one_group_;
};

} // namespace

machine_costs measure_machine(const pipeline::pipeline& p, schedule::workload shape) {
  machine_costs found{std::move(shape), {}};
  const auto& rollout = std::get<pipeline::rollout_table>(p.of<pipeline::rollout_table>().at(0)->options);
  refuse_large(p.models.at(rollout.model).path);
  measurement all(p, found);
  all.measure_decoding();
  all.measure_lengths();
  all.measure_scoring();
  all.measure_training();
  all.measure_publication();
  if (!all.share_machine())
    return found;
  all.measure_contention();
  for (const auto& role : p.roles)
    if (std::holds_alternative<pipeline::reward_model_table>(role.options)
        || std::holds_alternative<pipeline::reference_table>(role.options)
        || std::holds_alternative<pipeline::critic_table>(role.options))
      found.notes.push_back("the time of " + role.name + " was not measured and counts as nothing");
  return found;
}

} // namespace millrace::tools
