#pragma once

#include "actors/coordinator/group_router.hpp"
#include "runtime/schedule/presets.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

namespace millrace::tests {

using actors::group_graph;
using actors::group_router;
using actors::router_effects;
using supervision::evaluation_node;

/// Writes down everything that the router would have done.
struct recorded_effects : router_effects {
  std::vector<std::string> done;
  std::vector<generate_group> generating;
  std::vector<interrupt_group> interrupting;
  std::vector<process_group> processing;
  std::vector<fetch_group> fetching;
  std::vector<train_batch> training;
  std::vector<std::pair<role_instance, new_weights>> sent;
  std::vector<new_weights> evaluating;
  std::vector<ticket> released;
  std::vector<std::uint64_t> prompts;
  std::vector<std::uint32_t> published, checkpoints;
  std::string failure;
  bool finished = false;
  std::vector<schedule::progress> seen;

  void take_prompt(std::uint64_t index) override { prompts.push_back(index); }

  void generate(const role_instance& r, const generate_group& g) override {
    done.push_back("generate " + std::to_string(g.group) + " on " + r.name());
    generating.push_back(g);
  }

  void cancel(const role_instance&, const cancel_group& g) override {
    done.push_back("cancel " + std::to_string(g.group));
  }

  void interrupt(const role_instance& r, const interrupt_group& g) override {
    done.push_back("interrupt " + std::to_string(g.group) + " on " + r.name());
    interrupting.push_back(g);
  }

  void end_episodes(const role_instance& e, const millrace::end_episodes& g) override {
    done.push_back("end episodes of " + std::to_string(g.group) + " on " + e.name());
  }

  void process(const role_instance& s, const process_group& g) override {
    done.push_back("process " + std::to_string(g.group) + " on " + s.name());
    processing.push_back(g);
  }

  void fetch(const fetch_group& f) override {
    done.push_back("fetch " + std::to_string(f.group));
    fetching.push_back(f);
  }

  void forget(std::uint64_t g) override { done.push_back("forget " + std::to_string(g)); }

  void release(const std::vector<ticket>& t) override { released.insert(released.end(), t.begin(), t.end()); }

  std::ptrdiff_t has_released(const ticket& t) const { return std::count(released.begin(), released.end(), t); }

  void train(const train_batch& b) override { training.push_back(b); }

  void interrupt_training(std::uint64_t) override { done.push_back("interrupt"); }

  void publish(std::uint32_t v) override { published.push_back(v); }

  void hold_weights(const millrace::hold_weights& what) override {
    done.push_back((what.hold ? "hold " : "let go of ") + std::to_string(what.version));
  }

  void let_go(const weights_taken& what) override { done.push_back("all have " + std::to_string(what.version)); }

  void evaluate(const role_instance& e, const new_weights& what) override {
    done.push_back("evaluate " + std::to_string(what.version) + " on " + e.name());
    evaluating.push_back(what);
  }

  void send_weights(const role_instance& r, const new_weights& w) override { sent.emplace_back(r, w); }

  void checkpoint(std::uint32_t step, const std::string&) override { checkpoints.push_back(step); }

  void batch_done(const batch_report&, const std::vector<std::uint64_t>&) override {}

  void observe(const schedule::progress& depths) override { seen.push_back(depths); }

  void complain(const std::string& line) override { done.push_back("complain: " + line); }

  void finish(const schedule::finish&) override { finished = true; }

  void fail(const std::string& why) override { failure = why; }
};

constexpr std::uint64_t source_node = 1, rollout_node = 10, verifier_node = 20, policy_node = 30;

/// source -> rollout -> rules -> learner, two groups a step, synchronous.
struct router_world {
  recorded_effects effects;
  role_instance rollout{"rollout", 0, 1};
  role_instance rules{"rules", 0, 1};
  group_router c;
  double now = 0;
  std::uint64_t next_ticket = 1;

  static schedule::scheduler make_scheduler(std::uint32_t steps, std::uint32_t flat_groups_per_step,
                                            const char* preset = "synchronous") {
    auto config = schedule::preset(preset);
    config.clock.minibatches = std::min(config.clock.minibatches, 2u);
    config.groups_per_step = 2;
    config.steps = steps;
    config.flat_groups_per_step = flat_groups_per_step;
    return schedule::scheduler(config);
  }

  static group_graph make_graph(std::vector<evaluation_node> evaluations = {}) {
    return {.generators = {{"rollout", 4}},
            .instances = 2, // one of them is missing: versions stay for it
            .adders = {{"rules", {"rollout"}}},
            .leader = "learner",
            .leader_from = {"rules"},
            .evaluations = std::move(evaluations)};
  }

  explicit router_world(std::uint32_t steps = 3, std::vector<evaluation_node> evaluations = {},
                        std::uint32_t flat_groups_per_step = 0, const char* preset = "synchronous")
      : c(make_graph(std::move(evaluations)), make_scheduler(steps, flat_groups_per_step, preset), 7, effects) {}

  explicit router_world(const schedule::config& schedule, std::vector<evaluation_node> evaluations = {})
      : c(make_graph(std::move(evaluations)), schedule::scheduler(schedule), 7, effects) {}

  router_world(const schedule::config& schedule, group_graph graph)
      : c(std::move(graph), schedule::scheduler(schedule), 7, effects) {}

  void all_up() {
    c.adder_up(rules, verifier_node);
    leader_up();
    rollout_up(rollout, rollout_node);
    publish();
  }

  void rollout_up(const role_instance& who, std::uint64_t node) {
    c.generator_up(who, node, {.capacity_groups = 8}, now);
  }

  void leader_up() { c.leader_up(policy_node); }

  /// Every rollout that was sent weights flips.
  void flip() {
    for (const auto& [who, weights] : std::exchange(effects.sent, {}))
      c.weights_are_live(who, weights.version, now);
  }

  /// Answers the last `publish` and has every rollout flip.
  void publish() {
    ticket t;
    t.owner = policy_node;
    t.id = next_ticket++;
    c.published({effects.published.back(), t, 0});
    flip();
  }

  void give_prompts() {
    for (const auto index : std::exchange(effects.prompts, {})) {
      c.prompt_arrived({.index = index, .columns = prompt_ticket(index)}, now);
    }
  }

  /// Of the prompt's columns, which the source has published.
  static ticket prompt_ticket(std::uint64_t index) {
    ticket t;
    t.owner = source_node;
    t.id = 1000 + index;
    return t;
  }

  ticket ticket_of(std::uint64_t owner) {
    ticket t;
    t.owner = owner;
    t.id = next_ticket++;
    return t;
  }

  void generate(std::uint64_t group, std::uint32_t attempt = 1) {
    c.generated({rollout, group, attempt, ticket_of(rollout_node), {{c.scheduler().at().step, 5}}, 0}, now);
  }

  void process(std::uint64_t group, std::uint32_t attempt = 1) {
    c.processed(rules, {group, attempt, ticket_of(verifier_node), {{"reward", {0.5, 1}}}, "", {}, 0}, now);
  }

  void score_and_fetch(std::uint64_t group, std::uint32_t attempt = 1) {
    generate(group, attempt);
    process(group, attempt);
    c.fetched({group, attempt}, now);
  }

  void train() {
    const auto batch = effects.training.back();
    batch_report report;
    report.step = batch.step;
    report.part = batch.part;
    report.ends_step = batch.ends_step;
    report.trained_tokens = 5 * static_cast<std::int64_t>(batch.groups.size());
    c.trained(report, now);
  }
};

} // namespace millrace::tests
