#include "tools/plan_costs.hpp"

#include "runtime/formats/quoted.hpp"
#include "runtime/formats/text_lines.hpp"
#include "runtime/pipeline/cluster.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/pipeline/wording.hpp"
#include "runtime/report/recorded_costs.hpp"
#include "runtime/roles/learner_options.hpp"
#include "runtime/words/cores.hpp"
#include "runtime/words/decimal.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <charconv>
#include <sstream>

namespace millrace::tools {

namespace {

namespace fs = std::filesystem;

constexpr std::int32_t most_tokens = 4'000'000; // of one answer
constexpr std::size_t most_answers = 1024;      // of one group

void read_csv(const fs::path& file, schedule::workload& costs) {
  formats::text_lines lines(file, "tokens of a group's answers in each line");
  costs.lengths.clear();
  for (std::string line; lines.next(line);) {
    std::vector<std::int32_t> lengths;
    constexpr const char* between = ", \t\r";
    for (auto at = line.find_first_not_of(between); at != std::string::npos; at = line.find_first_not_of(between, at)) {
      const auto word = line.substr(at, line.find_first_of(between, at) - at);
      std::int32_t value = 0;
      const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
      if (error != std::errc{} || end != word.data() + word.size() || value < 0 || value > most_tokens)
        throw input_error(lines.where() + ":" + std::to_string(at + 1) + ": found '" + formats::printable(word)
                          + "', want a number of tokens, at least 0 and at most " + std::to_string(most_tokens));
      lengths.push_back(value);
      at += word.size();
    }
    if (lengths.size() > most_answers)
      throw input_error(lines.where() + ": found " + std::to_string(lengths.size()) + " answers, want at most "
                        + std::to_string(most_answers));
    if (!lengths.empty())
      costs.lengths.push_back(std::move(lengths));
  }
  if (costs.lengths.empty())
    throw input_error(file.string() + ": empty, want tokens of a group's answers in each line");
}

void take(const std::string& text, schedule::workload& costs) {
  const auto equals = text.find('=');
  const auto name = text.substr(0, equals), value = equals == std::string::npos ? "" : text.substr(equals + 1);
  bool known = false;
  std::string names;
  schedule::workload::each(costs, [&](const std::string& one, auto& field) {
    names += (names.empty() ? "" : ", ") + one;
    if (one != name)
      return;
    known = true;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), field);
    if (error != std::errc{} || end != value.data() + value.size())
      throw input_error("--costs " + text + ": want a number");
  });
  if (!known)
    throw input_error("--costs " + text + ": no cost '" + name + "', want one of " + names);
}

/// Why costs of `recorded` may not be those of `p`, a sentence each.
std::vector<std::string> differences(const pipeline::pipeline& recorded, const pipeline::pipeline& p) {
  std::vector<std::string> notes;
  const auto cores = cores_here();
  const auto differ = [&](const std::string& what, const auto& then, const auto& now) {
    std::ostringstream text;
    text << what << ": " << then << " in the trace, " << now << " here";
    if (then != now)
      notes.push_back(formats::printable(text.str(), 4096));
  };
  const auto* then = recorded.of<pipeline::rollout_table>().at(0);
  const auto* now = p.of<pipeline::rollout_table>().at(0);
  const auto& before = std::get<pipeline::rollout_table>(then->options);
  const auto& after = std::get<pipeline::rollout_table>(now->options);
  differ("threads of " + now->name, threads_of(recorded, then->name, cores), threads_of(p, now->name, cores));
  differ("threads of " + p.policy().name, threads_of(recorded, recorded.policy().name, cores),
         threads_of(p, p.policy().name, cores));
  const auto at_once = [](const pipeline::pipeline& of) {
    return std::get<pipeline::policy_table>(of.policy().options).micro_batches_at_once;
  };
  differ("micro_batches_at_once of " + p.policy().name, at_once(recorded), at_once(p));
  differ("model", recorded.models.at(before.model).path.string(), p.models.at(after.model).path.string());
  differ("answers_per_prompt", before.answers_per_prompt, after.answers_per_prompt);
  differ("max_new_tokens", before.max_new_tokens, after.max_new_tokens);
  return notes;
}

std::int64_t ranks_of(const pipeline::pipeline& p) {
  return std::max<std::int64_t>(1, p.processes_of(p.policy().name));
}

} // namespace

cost_source::cost_source(plan_costs from) : from_(std::move(from)) {
  if (!from_.trace.empty() && !from_.cluster.empty())
    throw input_error("--cluster " + from_.cluster + ": found with --trace, want one of them");
  if (fs::is_directory(from_.trace)) {
    recorded_ = report::read_recorded_run(from_.trace);
    recorded_pipeline_ = pipeline::read_pipeline(from_.trace / "resolved.toml");
  }
  if (!from_.cluster.empty())
    cluster_ = pipeline::read_cluster(from_.cluster);
}

planned_costs cost_source::of(const pipeline::pipeline& p) {
  planned_costs found{pipeline::workload_of(p), {}};
  const auto here = pipeline::layout_contention(p, cores_here());
  if (recorded_) {
    found.costs.layout_contention = here;
    found.costs.ranks = static_cast<std::uint32_t>(ranks_to_add(p));
    auto recorded = report::costs_of(*recorded_, found.costs);
    found = {std::move(recorded.costs), std::move(recorded.notes)};
    for (auto& note : differences(*recorded_pipeline_, p))
      found.notes.push_back(std::move(note));
    add_ranks(p, found);
  } else if (!from_.trace.empty()) {
    read_csv(from_.trace, found.costs);
  } else if (cluster_) {
    found.costs =
        with_traffic(pipeline::on_cluster(std::move(found.costs), *cluster_, p.schedule.place.mode), p, *cluster_);
  } else if (from_.given.empty()) {
    const auto& environment =
        std::get<pipeline::rollout_table>(p.of<pipeline::rollout_table>()[0]->options).environment;
    if (!measured_.contains(environment))
      measured_.emplace(environment, measure_machine(p, found.costs));
    const auto& measured = measured_.at(environment);
    auto costs = measured.costs;
    costs.workers = found.costs.workers;
    costs.slots = found.costs.slots;
    costs.groups_per_worker = found.costs.groups_per_worker;
    costs.answers_per_group = found.costs.answers_per_group;
    costs.max_tokens = found.costs.max_tokens;
    costs.max_turns = found.costs.max_turns;
    costs.layout_contention = here;
    found = {std::move(costs), measured.notes};
    add_ranks(p, found);
  }
  for (const auto& one : from_.given)
    take(one, found.costs);
  if (found.costs.turns > 0 && found.costs.reply_s == 0 && found.costs.replies_s.empty())
    found.notes.push_back("nobody says how the episodes go: they have " + decimal(found.costs.turns)
                          + " turns and replies at once, want --costs turns=N, reply_s=SECONDS and observed_tokens=N");
  return found;
}

/// Of the policy, where the costs are those of one process; else 1.
std::int64_t cost_source::ranks_to_add(const pipeline::pipeline& p) const {
  return !recorded_ || ranks_of(*recorded_pipeline_) == 1 ? ranks_of(p) : 1;
}

void cost_source::add_ranks(const pipeline::pipeline& p, planned_costs& found) {
  const auto ranks = ranks_to_add(p);
  const auto& name = p.policy().name;
  if (recorded_ && ranks_of(*recorded_pipeline_) > 1 && ranks_of(*recorded_pipeline_) != ranks_of(p))
    found.notes.push_back("ranks of " + name + ": " + std::to_string(ranks_of(*recorded_pipeline_))
                          + " in the trace, and they count as those, want a trace of one process or of "
                          + std::to_string(ranks_of(p)));
  if (ranks == 1)
    return;
  if (recorded_ && found.costs.prompt_tokens <= 0)
    found.notes.push_back("the trace does not tell prompts: micro-batches of ranks of " + name
                          + " count as without them");
  const auto hosts = p.placement.hosts_of(p.placement.roles.at(name));
  if (std::ranges::any_of(hosts, [&](const auto& host) { return host != hosts.front(); }))
    found.notes.push_back("ranks of " + name + " on several hosts count as on this one: their network is not measured");
  found.costs = with_ranks(std::move(found.costs), p, costs_of_ranks(p, found.notes));
}

/// Measured once for every kind of learner.
rank_costs cost_source::costs_of_ranks(const pipeline::pipeline& p, std::vector<std::string>& notes) {
  const auto& role = p.policy();
  const auto& table = std::get<pipeline::policy_table>(role.options);
  const rank_probe wanted{.ranks = static_cast<int>(ranks_of(p)),
                          .threads = static_cast<int>(pipeline::threads_of(p, role.name, cores_here())),
                          .shard = p.shard_of(role.name),
                          .micro_batch_tokens = table.micro_batch_tokens,
                          .activation_checkpointing = table.activation_checkpointing,
                          .compute_dtype = table.compute_dtype,
                          .rounds_weights = roles::learner_options_of(p, 0).rounds_weights};
  const auto& path = p.models.at(table.model).path;
  const auto shape = model::load_checkpoint(path, {.weights = false, .shapes = true, .score_head = true});
  if (!measures_ranks(shape)) {
    notes.push_back("a block of " + path.string() + " is too large to measure: what ranks of " + role.name
                    + " cost each other counts as nothing");
    return {};
  }
  const auto [known, is_new] = of_ranks_.try_emplace({path, wanted});
  if (is_new)
    known->second = measure_ranks(shape, wanted);
  return known->second;
}

std::string in_words(const schedule::workload& costs) {
  std::ostringstream text;
  schedule::workload::each(costs, [&](const std::string& name, const auto& field) {
    if (name != "mean_tokens" && name != "length_cv" && name != "seed")
      text << name << '=' << field << ' ';
  });
  for (const auto& one : costs.decode)
    text << "step_s(" << one.occupied << ")=" << one.step_s << ' ';
  auto line = text.str();
  line.pop_back();
  return line;
}

} // namespace millrace::tools
