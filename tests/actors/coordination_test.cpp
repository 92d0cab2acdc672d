#include "actors/coordination.hpp"

#include "runtime/schedule/presets.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

using namespace millrace;
using namespace millrace::actors;

namespace {

/// Writes down what the coordinator would do.
struct recorded : coordination_effects {
  std::vector<std::string> done;
  std::vector<generate_group> generating;
  std::vector<interrupt_group> interrupting;
  std::vector<process_group> processing;
  std::vector<fetch_group> fetching;
  std::vector<train_batch> training;
  std::vector<std::pair<role_instance, new_weights>> sent;
  std::vector<transport::ticket> released;
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
  void cancel(const role_instance&, const cancel_group& g) override { done.push_back("cancel " + std::to_string(g.group)); }
  void interrupt(const role_instance& r, const interrupt_group& g) override {
    done.push_back("interrupt " + std::to_string(g.group) + " on " + r.name());
    interrupting.push_back(g);
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
  void release(const std::vector<transport::ticket>& t) override { released.insert(released.end(), t.begin(), t.end()); }
  void train(const train_batch& b) override { training.push_back(b); }
  void interrupt_training(std::uint64_t) override { done.push_back("interrupt"); }
  void publish(std::uint32_t v) override { published.push_back(v); }
  void hold_weights(const actors::hold_weights& what) override {
    done.push_back((what.hold ? "hold " : "let go of ") + std::to_string(what.version));
  }
  void evaluate(const role_instance& e, const evaluate_version& what) override {
    done.push_back("evaluate " + std::to_string(what.version) + " on " + e.name());
  }
  void send_weights(const role_instance& r, const new_weights& w) override { sent.emplace_back(r, w); }
  void checkpoint(std::uint32_t step, const std::string&) override { checkpoints.push_back(step); }
  void batch_done(const batch_report&, const std::vector<std::uint64_t>&) override {}
  void observe(const schedule::progress& depths) override { seen.push_back(depths); }
  void complain(const std::string& line) override { done.push_back("complain: " + line); }
  void finish(schedule::finish_reason) override { finished = true; }
  void fail(const std::string& why) override { failure = why; }
};

constexpr std::uint64_t rollout_node = 10, verifier_node = 20, policy_node = 30;

/// source -> rollout -> rules -> learner, two groups a step, synchronous.
struct world {
  recorded effects;
  role_instance rollout{"rollout", 0, 1};
  role_instance rules{"rules", 0, 1};
  coordination c;
  double now = 0;
  std::uint64_t next_ticket = 1;

  static schedule::scheduler make_scheduler(std::uint32_t steps, std::uint32_t flat_groups_per_step, const char* preset = "synchronous") {
    auto config = schedule::preset(preset);
    config.minibatches = std::min(config.minibatches, 2u);
    config.groups_per_step = 2;
    config.steps = steps;
    config.flat_groups_per_step = flat_groups_per_step;
    return schedule::scheduler(config);
  }

  static group_graph make_graph(std::vector<evaluation_node> evaluations) {
    group_graph graph{{{"rollout", 4}}, {{"rules", {"rollout"}}}, "learner", {"rules"}};
    graph.evaluations = std::move(evaluations);
    return graph;
  }

  explicit world(std::uint32_t steps = 3, std::vector<evaluation_node> evaluations = {}, std::uint32_t flat_groups_per_step = 0,
                 const char* preset = "synchronous")
      : c(make_graph(std::move(evaluations)), make_scheduler(steps, flat_groups_per_step, preset), 7, false, effects) {}

  explicit world(const schedule::config& schedule) : c(make_graph({}), schedule::scheduler(schedule), 7, false, effects) {}

  void all_up() {
    c.stage_up(rules, verifier_node);
    c.policy_up(policy_node, now);
    c.rollout_up(rollout, rollout_node, 8, now);
    publish();
  }

  /// Every rollout that was sent weights flips.
  void flip() {
    for (const auto& [who, weights] : std::exchange(effects.sent, {}))
      c.weights_are_live(who, weights.version, now);
  }

  /// Answers the last `publish` and has every rollout flip.
  void publish() {
    transport::ticket t;
    t.owner = policy_node;
    t.id = next_ticket++;
    c.published({effects.published.back(), t, 0});
    flip();
  }

  void give_prompts() {
    for (const auto index : std::exchange(effects.prompts, {})) {
      prompt_row row;
      row.index = index;
      row.prompt = {{"user", "question " + std::to_string(index)}};
      row.answer = "answer " + std::to_string(index);
      c.prompt_arrived(row, now);
    }
  }

  transport::ticket ticket_of(std::uint64_t owner) {
    transport::ticket t;
    t.owner = owner;
    t.id = next_ticket++;
    return t;
  }

  void generate(std::uint64_t group, std::uint32_t attempt = 1) {
    c.generated({rollout, group, attempt, ticket_of(rollout_node), {{c.scheduler().at().step, 5}}, 0}, now);
  }

  void process(std::uint64_t group, std::uint32_t attempt = 1) {
    c.processed(rules, {group, attempt, ticket_of(verifier_node), {{"reward", 0.5}}, "", 0}, now);
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

} // namespace

TEST_CASE("a group walks from prompt to policy, and its bundles are released once the policy holds it") { // CO-1, CO-2
  world w;
  w.all_up();
  w.give_prompts();
  REQUIRE(w.effects.generating.size() == 2);
  CHECK(w.effects.generating[0].answers == 4);
  w.generate(0);
  REQUIRE(w.effects.processing.size() == 1);
  CHECK(w.effects.processing[0].answer == "answer 0");
  CHECK(w.effects.fetching.empty());
  w.process(0);
  REQUIRE(w.effects.fetching.size() == 1);
  CHECK(w.effects.fetching[0].columns.size() == 2);
  CHECK(w.effects.released.empty());
  w.c.fetched({0, 1}, w.now);
  CHECK(w.effects.released.size() == 2);
}

TEST_CASE("a step is trained, its version published, and the next groups begin under it") {
  world w;
  w.all_up();
  w.give_prompts();
  w.score_and_fetch(1);
  w.score_and_fetch(0);
  REQUIRE(w.effects.training.size() == 1);
  CHECK(w.effects.training[0].groups == std::vector<std::uint64_t>{0, 1});
  CHECK(w.effects.training[0].step == 1);
  CHECK(w.effects.seen.back().training == 2);
  CHECK(w.effects.seen.back().generating == 0);
  w.train();
  CHECK(w.effects.published == std::vector<std::uint32_t>{0, 1});
  w.publish();
  w.give_prompts();
  CHECK(w.effects.generating.size() == 4);
  CHECK(w.c.scheduler().books().check() == "");
}

TEST_CASE("the seed of a group is the same at every attempt and differs between groups") {
  CHECK(group_seed(1, 5) == group_seed(1, 5));
  CHECK(group_seed(1, 5) != group_seed(1, 6));
  CHECK(group_seed(1, 5) != group_seed(2, 5));
}

TEST_CASE("what a dead rollout was generating, and what only it held, is generated again elsewhere") { // CO-3
  world w;
  const role_instance other{"rollout", 1, 1};
  w.all_up();
  w.c.rollout_up(other, 11, 8, w.now);
  w.flip();
  w.give_prompts();
  w.generate(0); // lies on the rollout's node, scored by nobody yet
  w.effects.generating.clear();
  w.c.node_gone(rollout_node, w.now);
  std::vector<std::uint64_t> again;
  for (const auto& g : w.effects.generating) {
    again.push_back(g.group);
    CHECK(g.attempt == 2);
    CHECK(g.seed == group_seed(7, g.group));
  }
  std::sort(again.begin(), again.end());
  CHECK(again == std::vector<std::uint64_t>{0, 1});
  CHECK(w.effects.prompts.empty()); // the rows are remembered
}

TEST_CASE("a fetched group survives the death of every other process") { // CO-2
  world w;
  w.all_up();
  w.give_prompts();
  w.score_and_fetch(0);
  w.score_and_fetch(1);
  w.c.node_gone(rollout_node, w.now);
  w.c.node_gone(verifier_node, w.now);
  w.train();
  CHECK(w.c.scheduler().at().consumed == 2);
}

TEST_CASE("work of a dead stage goes to the next copy that is there, or waits for one") { // CO-1
  world w;
  w.all_up();
  w.give_prompts();
  w.generate(0);
  w.c.node_gone(verifier_node, w.now);
  CHECK(w.effects.processing.size() == 1);
  w.rules.incarnation = 2;
  w.c.stage_up(w.rules, 21);
  REQUIRE(w.effects.processing.size() == 2);
  CHECK(w.effects.processing[1].group == 0);
  w.process(0);
  CHECK(w.effects.fetching.size() == 1);
}

TEST_CASE("answers of an earlier attempt change nothing and are released") { // CO-4
  world w;
  w.all_up();
  w.give_prompts();
  w.c.node_gone(rollout_node, w.now);
  w.rollout.incarnation = 2;
  w.c.rollout_up(w.rollout, 12, 8, w.now);
  w.flip();
  const auto before = w.effects.processing.size();
  w.generate(0, 1);
  CHECK(w.effects.processing.size() == before);
  CHECK(w.effects.released.size() == 1);
  w.generate(0, 2);
  CHECK(w.effects.processing.size() == before + 1);
}

TEST_CASE("what a dead rollout had sent before it died changes nothing, though nobody generates the group yet") { // CO-4
  world w;
  w.all_up();
  w.give_prompts();
  w.c.node_gone(rollout_node, w.now);
  w.generate(0, 1);
  CHECK(w.effects.processing.empty());
  CHECK(w.effects.released.size() == 1);
  CHECK(w.c.scheduler().books().check() == "");
}

TEST_CASE("a rollout that cannot take a version is sent it again, and the third refusal fails the run") {
  world w;
  w.c.policy_up(policy_node, w.now);
  w.c.rollout_up(w.rollout, rollout_node, 8, w.now);
  w.c.published({0, w.ticket_of(policy_node), 0});
  CHECK(w.effects.sent.size() == 1);
  w.c.weights_failed(w.rollout, 0, "no answer");
  w.c.weights_failed(w.rollout, 0, "no answer");
  CHECK(w.effects.sent.size() == 3);
  CHECK(w.effects.failure.empty());
  w.c.weights_failed(w.rollout, 0, "wrong shape");
  CHECK(w.effects.sent.size() == 3);
  CHECK(w.effects.failure == "rollout/0 could not take version 0 three times, the last one: wrong shape");
}

namespace {

/// Two groups a step, one step of lead: when version 1 is published, groups 2 and 3 are interrupted.
struct interrupted_world : world {
  static schedule::config schedule() {
    auto config = schedule::preset("areal");
    config.groups_per_step = 2;
    config.depth = 1;
    config.steps = 3;
    config.attempts_per_group = 2;
    return config;
  }

  interrupted_world() : world(schedule()) {
    all_up();
    give_prompts();
    REQUIRE(effects.generating.size() == 4);
    score_and_fetch(0);
    score_and_fetch(1);
    train();
    give_prompts();
    REQUIRE(effects.interrupting.size() == 2);
    CHECK(effects.interrupting[0].group == 2);
    effects.released.clear();
  }

  /// @returns the ticket of what it has
  transport::ticket hand_over(std::uint64_t group, std::int64_t tokens, std::uint64_t owner = rollout_node) {
    const auto partial = tokens > 0 ? ticket_of(owner) : transport::ticket{};
    group_interrupted what{rollout, group, 1, partial, {}};
    if (tokens > 0)
      what.tokens[0] = tokens;
    c.interrupted(what, now);
    return partial;
  }

  const generate_group& started_last(std::uint64_t group) {
    const auto found = std::find_if(effects.generating.rbegin(), effects.generating.rend(), [&](const auto& g) { return g.group == group; });
    REQUIRE(found != effects.generating.rend());
    return *found;
  }
};

} // namespace

TEST_CASE("an interrupted group goes on with what it has, which is released once the rollout has it") { // CO-6
  interrupted_world w;
  const auto partial = w.hand_over(2, 7);
  w.hand_over(3, 0);
  CHECK(w.started_last(2).attempt == 1); // until the rollout has flipped
  w.publish();
  w.give_prompts();
  CHECK(w.started_last(2).attempt == 2);
  CHECK(w.started_last(2).partial.id == partial.id);
  CHECK(w.started_last(2).seed == group_seed(7, 2));
  CHECK(w.started_last(3).attempt == 2);
  CHECK(w.started_last(3).partial.id == 0); // had nothing
  CHECK(w.effects.released.empty());
  w.c.generation_accepted(2, 2);
  REQUIRE(w.effects.released.size() == 1);
  CHECK(w.effects.released[0].id == partial.id);
  w.c.generated({w.rollout, 2, 2, w.ticket_of(rollout_node), {{0, 7}, {1, 4}}, 0}, w.now);
  CHECK(w.c.scheduler().books().check() == "");
  CHECK(w.c.scheduler().at().finished == 1);
}

TEST_CASE("if the process that holds what a group has dies first, the group starts again, and that counts") { // CO-3, CO-6
  interrupted_world w;
  const role_instance other{"rollout", 1, 1};
  w.hand_over(2, 7);
  w.hand_over(3, 0);
  SUBCASE("while nobody generates it") {
    w.c.rollout_up(other, 11, 8, w.now);
    w.c.node_gone(rollout_node, w.now);
    w.publish();
    w.give_prompts();
    CHECK(w.started_last(2).attempt == 2);
  }
  SUBCASE("while another rollout pulls it") {
    w.publish();
    CHECK(w.started_last(2).partial.id != 0);
    w.c.generation_refused(2, 2, "rollout/0: what it had is lost: node 10 is gone", true, w.now);
    w.give_prompts();
    CHECK(w.started_last(2).attempt == 3);
  }
  CHECK(w.started_last(2).partial.id == 0);
  CHECK(w.effects.released.size() == 1);
  CHECK(w.c.scheduler().books().check() == "");
  w.c.generation_refused(2, w.started_last(2).attempt, "no answer", true, w.now); // the second attempt of two
  CHECK(w.c.dropped_groups() == 1);
}

TEST_CASE("what a void attempt hands over is released, and changes nothing") { // CO-4
  interrupted_world w;
  w.generate(2); // it had ended already
  w.c.interrupted({w.rollout, 2, 1, w.ticket_of(rollout_node), {{0, 5}}}, w.now);
  CHECK(w.effects.released.size() == 1);
  CHECK(w.c.scheduler().at().finished == 1);
  w.c.interrupted({{"rollout", 0, 0}, 3, 1, w.ticket_of(rollout_node), {{0, 5}}}, w.now); // of an earlier life
  CHECK(w.effects.released.size() == 2);
  CHECK(w.c.scheduler().at().generating == 1);
}

TEST_CASE("a group whose prompt is not here yet is interrupted without asking anybody") {
  world w(interrupted_world::schedule());
  w.all_up();
  w.effects.prompts = {0, 1}; // those of 2 and 3 take their time
  w.give_prompts();
  w.score_and_fetch(0);
  w.score_and_fetch(1);
  w.train();
  CHECK(w.effects.interrupting.empty());
  CHECK(w.c.scheduler().at().generating == 0);
  w.publish();
  CHECK(w.c.scheduler().at().generating == 4);
}

TEST_CASE("a prompt that does not fit is dropped with its reason and its place filled by the next") {
  world w;
  w.all_up();
  w.give_prompts();
  w.c.generation_refused(0, 1, "a prompt of 9000 tokens", false, w.now);
  w.give_prompts();
  CHECK(w.effects.generating.back().group == 2);
  CHECK(w.c.dropped_groups() == 1);
  CHECK(std::find(w.effects.done.begin(), w.effects.done.end(), "complain: group 0 dropped: a prompt of 9000 tokens")
        != w.effects.done.end());
}

TEST_CASE("the death of the policy fails the run with what to do") {
  world w;
  w.all_up();
  w.c.node_gone(policy_node, w.now);
  CHECK(w.effects.failure.find("millrace resume") != std::string::npos);
}

TEST_CASE("stopping interrupts the step, keeps its groups for the checkpoint and finishes") {
  world w;
  w.all_up();
  w.give_prompts();
  w.score_and_fetch(0);
  w.score_and_fetch(1);
  w.c.stop(w.now);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "interrupt") == 1);
  batch_report report;
  report.step = 1;
  report.interrupted = true;
  w.c.trained(report, w.now);
  REQUIRE(w.effects.checkpoints == std::vector<std::uint32_t>{0});
  w.c.checkpointed(0, w.now);
  CHECK(w.effects.finished);
  CHECK(w.c.scheduler().at().consumed == 0);
}

TEST_CASE("a step in parts is trained as its groups come, and makes one version") {
  world w(2, {}, 0, "streaming");
  w.all_up();
  w.give_prompts();
  w.score_and_fetch(1);
  REQUIRE(w.effects.training.size() == 1); // the other group is still generated
  CHECK(w.effects.training[0].groups == std::vector<std::uint64_t>{1});
  CHECK(w.effects.training[0].part == 0);
  CHECK(!w.effects.training[0].ends_step);
  w.train();
  CHECK(w.effects.published == std::vector<std::uint32_t>{0});
  w.score_and_fetch(0);
  REQUIRE(w.effects.training.size() == 2);
  CHECK(w.effects.training[1].step == 1);
  CHECK(w.effects.training[1].version == 0);
  CHECK(w.effects.training[1].part == 1);
  CHECK(w.effects.training[1].ends_step);
  w.train();
  CHECK(w.effects.published == std::vector<std::uint32_t>{0, 1});
  CHECK(w.c.scheduler().books().check() == "");
}

TEST_CASE("stopping within a step keeps the parts that are trained: the checkpoint is of the step's start and says how many") {
  world w(2, {}, 0, "streaming");
  w.all_up();
  w.give_prompts();
  w.score_and_fetch(0);
  w.train();
  w.score_and_fetch(1);
  w.c.stop(w.now);
  batch_report report;
  report.step = 1;
  report.part = 1;
  report.interrupted = true;
  w.c.trained(report, w.now);
  REQUIRE(w.effects.checkpoints == std::vector<std::uint32_t>{0});
  CHECK(w.effects.training.size() == 2);
  CHECK(w.c.scheduler().at().part == 1);
  CHECK(w.c.scheduler().at().consumed == 1);
  w.c.checkpointed(0, w.now);
  CHECK(w.effects.finished);
}

TEST_CASE("the learner is told that a step is over whose other groups were lost, before it writes its checkpoint") {
  world w(2, {}, 0, "streaming");
  w.all_up();
  w.give_prompts();
  w.score_and_fetch(0);
  w.train();
  w.c.generation_refused(1, 1, "too long", false, w.now);
  for (const auto index : std::exchange(w.effects.prompts, {})) {
    prompt_row row;
    row.index = index;
    row.exhausted = true;
    w.c.prompt_arrived(row, w.now);
  }
  REQUIRE(w.effects.training.size() == 2);
  CHECK(w.effects.training[1].groups.empty());
  CHECK(w.effects.training[1].part == 1);
  CHECK(w.effects.training[1].ends_step);
  CHECK(w.effects.checkpoints == std::vector<std::uint32_t>{1});
  w.train();
  w.c.checkpointed(1, w.now);
  CHECK(w.effects.finished);
}

TEST_CASE("prompts that end finish the run with a smaller last batch") {
  world w;
  w.all_up();
  for (const auto index : std::exchange(w.effects.prompts, {})) {
    prompt_row row;
    row.index = index;
    row.exhausted = index == 1;
    row.prompt = {{"user", "q"}};
    w.c.prompt_arrived(row, w.now);
  }
  w.score_and_fetch(0);
  REQUIRE(w.effects.training.size() == 1);
  CHECK(w.effects.training[0].groups == std::vector<std::uint64_t>{0});
  w.train();
  REQUIRE(w.effects.checkpoints.size() == 1);
  w.c.checkpointed(1, w.now);
  CHECK(w.effects.finished);
}

TEST_CASE("an evaluation gets its version before the next step is trained, and the schedule goes on without it") { // CO-5
  world w(2, {{"held_out", 1, true}});
  const role_instance held_out{"held_out", 0, 1};
  w.all_up();
  w.c.evaluation_up(held_out, 40);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "hold 0") == 1);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "evaluate 0 on held_out/0") == 1);
  w.give_prompts();
  w.score_and_fetch(0);
  w.score_and_fetch(1);
  w.train();
  CHECK(w.effects.published.back() == 1); // asked once, by the evaluation; the rollouts get the same
  CHECK(std::count(w.effects.published.begin(), w.effects.published.end(), 1u) == 1);
  w.publish();
  w.give_prompts();
  CHECK(w.c.evaluated(held_out, 0, true));
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "let go of 0") == 1);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "evaluate 1 on held_out/0") == 1);
  w.score_and_fetch(2);
  w.score_and_fetch(3);
  w.train();
  w.c.checkpointed(2, w.now);
  CHECK(w.effects.published.back() == 2); // the last version, which no rollout needs
  CHECK_FALSE(w.effects.finished);        // the end waits
  w.publish();
  CHECK(w.c.evaluated(held_out, 1, true));
  CHECK_FALSE(w.effects.finished);
  CHECK(w.c.evaluated(held_out, 2, true));
  CHECK(w.effects.finished);
}

TEST_CASE("a person who stops a run waits for no evaluation; an early stop does") { // CO-5
  for (const bool in_haste : {true, false}) {
    world w(2, {{"held_out", 0, true}});
    const role_instance held_out{"held_out", 0, 1};
    w.all_up();
    w.c.evaluation_up(held_out, 40);
    w.c.stop(w.now, in_haste);
    w.c.checkpointed(0, w.now);
    CHECK(w.effects.finished == in_haste);
    w.c.evaluated(held_out, 0, true);
    CHECK(w.effects.finished);
  }
}

TEST_CASE("the death of an evaluation's process costs the evaluation alone") {
  world w(2, {{"held_out", 0, true}});
  w.all_up();
  w.c.evaluation_up({"held_out", 0, 1}, 40);
  w.give_prompts();
  const auto before = w.c.scheduler().at();
  w.c.node_gone(40, w.now);
  CHECK(w.c.scheduler().at().generating == before.generating);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "let go of 0") == 1);
  CHECK(w.effects.failure.empty());
}

TEST_CASE("a fetched group whose rewards are all equal is told to the scheduler as such") {
  world w(3, {}, 4);
  w.all_up();
  w.give_prompts();
  w.generate(0);
  w.process(0);
  w.c.fetched({0, 1, true}, w.now);
  CHECK(w.c.scheduler().books().dropped(schedule::drop_reason::zero_variance).groups == 1);
  CHECK(std::count(w.effects.done.begin(), w.effects.done.end(), "forget 0") == 1);
  CHECK(w.effects.prompts == std::vector<std::uint64_t>{2}); // the next prompt takes its place
}

TEST_CASE("a group that waits for its columns says who has it: the copy at work, the role without one, the policy") {
  world w;
  w.all_up();
  w.give_prompts();
  CHECK(w.c.working_on(0).empty()); // it is generated: the scheduler's own wait
  w.generate(0);
  CHECK(w.c.working_on(0) == std::vector<std::string>{"rules/0"});
  w.c.node_gone(verifier_node, w.now);
  CHECK(w.c.working_on(0) == std::vector<std::string>{"rules"});
}

namespace {

/// A policy and two rollouts of one place each that were sent their first weights.
struct two_rollouts {
  recorded effects;
  coordination c;
  role_instance first{"rollout", 0, 1}, second{"rollout", 1, 1};

  two_rollouts(const schedule::config& config, bool in_flight)
      : c(world::make_graph({}), schedule::scheduler(config), 7, in_flight, effects) {
    c.policy_up(policy_node, 0);
    c.rollout_up(first, rollout_node, 1, 0);
    c.rollout_up(second, 11, 1, 0);
    transport::ticket weights;
    weights.owner = policy_node;
    weights.id = 1;
    c.published({effects.published.back(), weights, 0});
  }
};

} // namespace

TEST_CASE("a group that takes longer than its deadline is cancelled where it runs and generated elsewhere") {
  auto config = schedule::preset("synchronous");
  config.groups_per_step = 1;
  config.steps = 2;
  config.call_deadline_s = 30;
  two_rollouts here(config, false);
  auto& [effects, c, first, second] = here;
  for (const auto& [who, sent] : std::exchange(effects.sent, {}))
    c.weights_are_live(who, sent.version, 0);
  REQUIRE(c.scheduler().at().generating == 1);
  c.look_for_overdue(30);
  CHECK(c.scheduler().books().sums().lost == 0);
  CHECK(effects.done.size() == std::exchange(effects.done, {}).size());
  c.look_for_overdue(31);
  REQUIRE(!effects.done.empty());
  CHECK(effects.done.front() == "complain: group 0 took longer than schedule.faults.call_deadline_s");
  CHECK(c.scheduler().at().generating == 1);
}

TEST_CASE("a rollout that does not take its weights in time is named, sent them again and left out") {
  auto config = schedule::preset("nemo_ready_first");
  config.groups_per_step = 1;
  config.steps = 9;
  config.publish_deadline_s = 30;
  two_rollouts here(config, true);
  auto& [effects, c, first, second] = here;
  REQUIRE(effects.sent.size() == 2);
  c.weights_are_live(first, 0, 1);
  effects.sent.clear();
  effects.done.clear();
  c.look_for_overdue(30);
  CHECK(effects.done.empty());
  c.look_for_overdue(31);
  CHECK(effects.done == std::vector<std::string>{"complain: rollout/1 did not run version 0 within schedule.publish.deadline_s: it is sent again, and "
                                                  "rollouts that run it go on without this one"});
  REQUIRE(effects.sent.size() == 1);
  CHECK(effects.sent[0].first == second);
  CHECK(effects.sent[0].second.version == 0);
  c.look_for_overdue(99);
  CHECK(effects.done.size() == 1);
}

TEST_CASE("a rollout begins as many answers as the schedule says, and what it leaves out is surplus in the books") {
  auto config = schedule::preset("synchronous");
  config.groups_per_step = 2;
  config.steps = 2;
  config.oversample_attempts = 1.25;
  world w(config);
  w.all_up();
  w.give_prompts();
  REQUIRE(w.effects.generating.size() == 2);
  CHECK(w.effects.generating[0].answers == 4);
  CHECK(w.effects.generating[0].started == 5);
  group_generated made{w.rollout, 0, 1, w.ticket_of(rollout_node), {{0, 40}}, 0, 0, {{0, 40}}, 7};
  w.c.generated(made, w.now);
  CHECK(w.c.scheduler().books().dropped(schedule::drop_reason::surplus).tokens == 7);
  CHECK(w.c.scheduler().books().sums().generated == 47);
}

TEST_CASE("a group that a stage does not have in two reports is named and generated again; one whose answer came is not looked for") { // CO-7
  world w;
  w.all_up();
  w.give_prompts();
  w.generate(0);
  w.generate(1);
  w.process(1);
  w.effects.done.clear();
  const telemetry::holding says{"rules/0", 2, {}};
  w.now = 10;
  w.c.holds(verifier_node, says, w.now);
  REQUIRE(w.c.suspected().size() == 1);
  CHECK(telemetry::in_words(w.c.suspected()[0], 10) == "group 0 counts as in work on rules/0, which does not have it: its credit is held since 10 s");
  CHECK(w.effects.done.empty());
  w.c.holds(rollout_node, says, w.now); // of another process
  w.c.holds(verifier_node, {"rules/1", 2, {}}, w.now);
  CHECK(w.effects.done.empty());
  const auto released = w.effects.released.size();
  w.c.holds(verifier_node, says, w.now);
  REQUIRE(w.effects.done.size() == 2);
  CHECK(w.effects.done[0] ==
        "complain: group 0 counts as in work on rules/0, which does not have it: its credit is held since 10 s; the attempt counts as lost");
  CHECK(w.effects.done[1] == "generate 0 on rollout/0");
  CHECK(w.effects.released.size() == released + 1);
  w.process(0); // too late
  CHECK(w.effects.fetching.size() == 1);
  w.generate(0, 2);
  w.process(0, 2);
  CHECK(w.effects.fetching.size() == 2);
}

TEST_CASE("a rollout that starts anew is not held against what its earlier life said") { // CO-7
  world w;
  w.all_up();
  w.give_prompts();
  w.c.holds(rollout_node, {"rollout/0", 2, {{0, 1}}}, w.now);
  REQUIRE(w.c.suspected().size() == 1);
  w.c.node_gone(rollout_node, w.now);
  w.rollout.incarnation = 2;
  w.c.rollout_up(w.rollout, 11, 8, w.now);
  CHECK(w.c.suspected().empty());
  w.flip();
  w.c.holds(rollout_node, {"rollout/0", 2, {}}, w.now);
  w.c.holds(11, {"rollout/0", 0, {}}, w.now);
  w.c.holds(11, {"rollout/0", 0, {}}, w.now);
  CHECK(w.c.suspected().empty());
}

TEST_CASE("where no rollout takes weights, what stands in its place hears of versions once there is a policy, and nothing is published") {
  recorded effects;
  auto graph = world::make_graph({});
  graph.publishes = false;
  coordination c(graph, world::make_scheduler(3, 0), 7, false, effects);
  const role_instance rows{"rollout", 0, 1};
  c.rollout_up(rows, rollout_node, 8, 0);
  CHECK(effects.sent.empty()); // rows that are written now could not be fetched
  c.policy_up(policy_node, 0);
  CHECK(effects.published.empty());
  REQUIRE(effects.sent.size() == 1);
  CHECK(effects.sent[0].second.version == 0);
  CHECK(effects.sent[0].second.parameters.id == 0);
  CHECK(effects.generating.empty());
  c.weights_are_live(rows, 0, 0);
  CHECK_FALSE(effects.prompts.empty());
}
