#include "actors/protocol/system.hpp"
#include "actors/roles/start_role.hpp"
#include "runtime/columns/weights_bundle.hpp"
#include "runtime/model/checkpoint.hpp"
#include "tests/runtime/roles/ask.hpp"
#include "tests/runtime/roles/fixture.hpp"
#include "tests/support/eventually.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

namespace start_role_test {

using namespace millrace;
using namespace millrace::actors;

namespace {

constexpr auto within = std::chrono::seconds(20);

/// What roles tell the coordinator.
struct heard {
  std::vector<role_ready> ready;
  std::vector<role_failed> failed;
  std::vector<group_generated> generated;
  std::vector<group_interrupted> interrupted;
  std::vector<evaluation_progress> progress;
};

cluster::actor_options two_threads() {
  cluster::actor_options options;
  options.threads = 2;
  return options;
}

/// A process in which real roles of the tiny pipeline are started; its coordinator is the test's.
struct process {
  std::shared_ptr<tests::watched<heard>> seen = std::make_shared<tests::watched<heard>>();
  std::shared_ptr<transport::data_plane> data = tests::data_plane_of(1);
  actor_system system{two_threads()};
  std::vector<address> actors;
  handle<decides> coordinator;

  process() {
    const auto note = [all = seen](auto heard::*list) {
      return [all, list](const auto& what) { all->change([&](heard& h) { (h.*list).push_back(what); }); };
    };
    coordinator = handle<decides>(system.start("coordinator", [=](actor&, inbox& in) {
      in.on<role_ready>(note(&heard::ready));
      in.on<role_failed>(note(&heard::failed));
      in.on<group_generated>(note(&heard::generated));
      in.on<group_interrupted>(note(&heard::interrupted));
      in.on<evaluation_progress>(note(&heard::progress));
    }));
  }

  ~process() {
    for (const auto& who : actors)
      end_actor(who);
    actors.clear();
    end_actor(coordinator);
    coordinator = {};
    seen->change([](heard& h) { h = {}; });
    // The data plane's own thread, where callbacks end, must not be the last to hold it.
    CHECK(tests::eventually([&] { return data.use_count() == 1; }));
  }

  void start(const std::string& role, const pipeline::pipeline& p, const std::filesystem::path& checkpoint = {}) {
    start_role(
        [this](const std::string& name, actor::setup how) {
          actors.push_back(system.start(name, std::move(how)));
          return actors.back();
        },
        {.pipeline = std::make_shared<const pipeline::pipeline>(p),
         .who = {role, 0, 1},
         .node = 1,
         .data = data,
         .checkpoint = checkpoint},
        coordinator);
  }

  role_ready ready(const std::string& role, const pipeline::pipeline& p = tests::tiny_pipeline()) {
    start(role, p);
    REQUIRE(seen->wait([](const heard& h) { return h.ready.size() + h.failed.size() == 1; }));
    REQUIRE(seen->get().failed.empty());
    return seen->get().ready[0];
  }

  /// The answer, or the line it was refused with.
  template <class Protocol, class Message>
  std::pair<answer_of<Protocol, Message>, std::string> ask(const handle<Protocol>& whom, Message what) {
    const auto result = system.ask_and_wait(whom, std::move(what), within);
    if (const auto* why = std::get_if<refusal>(&result))
      return {{}, why->line};
    return {std::get<0>(result), ""};
  }

  ticket publish_weights() {
    return data->publish(columns::bundle_of(model::load_checkpoint(tests::tiny_model()).parameters));
  }

  generate_group prompt(group_id group) {
    return {.group = group,
            .attempt = 1,
            .columns = data->publish(tests::prompt_columns("What is 1 plus 2?")),
            .answers = 2,
            .seed = 1000 + group};
  }

  fetch_group group(group_id id) {
    return {.group = id,
            .attempt = 1,
            .columns = {data->publish(tests::rollout_columns()), data->publish(tests::reward_columns())}};
  }
};

} // namespace

TEST_CASE("a role that is started says what it can do; one that cannot start says why in one line") {
  {
    process here;
    const auto rules = here.ready("rules");
    CHECK(rules.who == role_instance{"rules", 0, 1});
    CHECK(rules.node == 1);
    CHECK(rules.column_adder);
    CHECK(!rules.generator);
    CHECK(!rules.trainer);
  }
  process here;
  const tests::temporary_folder empty; // looks like a model, and is none
  tests::write_file(empty / "config.json", "{}");
  here.start("learner", tests::tiny_pipeline({"models.tiny.path=\"" + empty.path().string() + "\""}));
  REQUIRE(here.seen->wait([](const heard& h) { return h.failed.size() == 1; }));
  const auto failed = here.seen->get().failed[0];
  CHECK(failed.who == role_instance{"learner", 0, 1});
  CHECK(failed.why.find(empty.path().string()) != std::string::npos);
  CHECK(failed.why.find('\n') == std::string::npos);
  CHECK(here.actors.empty());
}

TEST_CASE(
    "a rollout's actor takes weights, answers prompts and tells the coordinator what came of each group") { // RO-1
  process here;
  const auto rollout = here.ready("rollout");
  CHECK(rollout.capacity_groups > 0);
  REQUIRE((rollout.generator == rollout.weights_taker));
  const auto [accepted, error] = here.ask(rollout.generator, here.prompt(7));
  CHECK(error.empty());
  CHECK(accepted.prompt_tokens > 5);
  const auto weights = here.publish_weights();
  CHECK(here.ask(rollout.weights_taker, new_weights{.version = 3, .parameters = weights}).first.version == 3);
  CHECK(here.ask(rollout.weights_taker, new_weights{.version = 2, .parameters = weights}).first.version == 3); // RO-3
  REQUIRE(here.seen->wait([](const heard& h) { return h.generated.size() == 1; }));
  const auto ended = here.seen->get().generated[0];
  CHECK(ended.from == role_instance{"rollout", 0, 1});
  CHECK(ended.group == 7);
  CHECK(ended.tokens.contains(3));
  tests::watched<std::size_t> pulled{};
  here.data->pull(ended.columns, within, [&](transport::pull_result result) {
    pulled.change([&](auto& answers) { answers = tests::values(result.value, column::lengths).size(); });
  });
  CHECK(pulled.wait([](std::size_t answers) { return answers == 2; }));
}

TEST_CASE("a rollout's actor refuses a prompt that is too long, forgets what is cancelled and hands over what is "
          "interrupted") { // RO-1
  process here;
  const auto rollout = here.ready("rollout", tests::tiny_pipeline({"roles.prompts.max_prompt_tokens=40"}));
  auto large = here.prompt(1);
  large.columns = here.data->publish(tests::prompt_columns(std::string(400, 'x')));
  CHECK(here.ask(rollout.generator, large).second.find("want at most max_prompt_tokens = 40") != std::string::npos);
  for (const group_id group : {2u, 3u, 4u})
    CHECK(here.ask(rollout.generator, here.prompt(group)).second.empty());
  tell(rollout.generator, cancel_group{2});
  tell(rollout.generator, interrupt_group{3, 1});
  REQUIRE(here.seen->wait([](const heard& h) { return h.interrupted.size() == 1; })); // it has no weights yet
  CHECK(here.seen->get().interrupted[0].group == 3);
  CHECK(here.seen->get().interrupted[0].partial.id == 0);
  here.ask(rollout.weights_taker, new_weights{.version = 0, .parameters = here.publish_weights()});
  REQUIRE(here.seen->wait([](const heard& h) { return h.generated.size() == 1; }));
  CHECK(here.seen->get().generated[0].group == 4);
  CHECK(here.ask(rollout.generator, here.prompt(5)).second.empty());
  REQUIRE(here.seen->wait([](const heard& h) { return h.generated.size() == 2; }));
  CHECK(here.seen->get().generated[1].group == 5); // neither 2 nor 3
}

TEST_CASE("a learner's actor trains, publishes what it trained, and goes on from its checkpoint") { // PO-1, PO-2
  const tests::temporary_folder folder;
  {
    process here;
    const auto learner = here.ready("learner");
    CHECK(learner.parameters > 0);
    CHECK(!learner.needs_returns);
    REQUIRE((learner.trainer == learner.publisher));
    CHECK(here.ask(learner.trainer, here.group(1)).first.group == 1);
    CHECK(here.ask(learner.trainer, here.group(2)).second.empty());
    const auto [report, error] = here.ask(learner.trainer, train_batch{.step = 1, .groups = {1, 2}});
    CHECK(error.empty());
    CHECK(report.trained_tokens == 8);
    CHECK(here.ask(learner.trainer, train_batch{.step = 2, .version = 1, .groups = {1}}).second.find("group 1")
          != std::string::npos);
    const auto published = here.ask(learner.publisher, publish_weights{1}).first;
    CHECK(published.version == 1);
    CHECK(published.parameters.tickets.at(0).owner == 1);
    CHECK(here.ask(learner.state_keeper, write_checkpoint{folder.path().string()}).second.empty());
  }
  process again;
  again.start("learner", tests::tiny_pipeline(), folder.path());
  REQUIRE(again.seen->wait([](const heard& h) { return h.ready.size() == 1; }));
  CHECK(again.ask(again.seen->get().ready[0].publisher, publish_weights{1}).second.empty());
  process from_nothing;
  from_nothing.start("learner", tests::tiny_pipeline(), folder / "none");
  CHECK(from_nothing.seen->wait([](const heard& h) { return h.failed.size() == 1; }));
}

TEST_CASE("an evaluation's actor evaluates the version that it took, and says how far it is") { // EV-2
  process here;
  const auto held_out =
      here.ready("held_out", tests::tiny_pipeline({"roles.learner.publishes_to=[\"rollout\", \"held_out\"]"}, R"(
[roles.held_out]
kind = "evaluation"
model = "tiny"
generator = { type = "arithmetic" }
rows = 2
rules = [ { type = "number" } ]
)"));
  CHECK(held_out.rows == 2);
  CHECK(!here.ask(held_out.evaluator, evaluate_version{4}).second.empty()); // it has taken none
  const auto weights = here.publish_weights();
  CHECK(here.ask(held_out.weights_taker, new_weights{.version = 4, .parameters = weights}).first.version == 4);
  const auto [result, error] = here.ask(held_out.evaluator, evaluate_version{4});
  CHECK(error.empty());
  CHECK(result.version == 4);
  CHECK(!result.figures.empty());
  CHECK(here.ask(held_out.evaluator, evaluate_version{4}).first.figures == result.figures);
}

} // namespace start_role_test
