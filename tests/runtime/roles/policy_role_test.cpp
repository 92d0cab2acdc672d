#include "runtime/roles/policy_role.hpp"
#include "tests/runtime/roles/ask.hpp"
#include "tests/runtime/roles/fixture.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <string>
#include <vector>

namespace policy_role_test {

using namespace millrace;
using namespace millrace::roles;

namespace {

constexpr auto within = std::chrono::seconds(20);

/// The policy's role over the tiny model.
struct running_policy {
  tests::temporary_folder scratch;
  std::shared_ptr<transport::data_plane> data = tests::data_plane_of(1);
  std::shared_ptr<const pipeline::pipeline> p = std::make_shared<const pipeline::pipeline>(tests::tiny_pipeline());
  std::unique_ptr<policy_role> role =
      std::make_unique<policy_role>(role_setup{.pipeline = p, .who = {"learner", 0, 1}, .data = data});

  fetch_group group(std::uint64_t id, const std::vector<float>& reward = {1, 0}) {
    return {.group = id,
            .attempt = 1,
            .columns = {data->publish(tests::rollout_columns()), data->publish(tests::reward_columns(reward))},
            .domain = {}};
  }

  static train_batch step(std::uint64_t number, std::vector<std::uint64_t> groups) {
    return {.step = number, .version = static_cast<std::uint32_t>(number - 1), .groups = std::move(groups)};
  }

  std::string fetch(const fetch_group& ask) { return tests::ask(*role, &policy_role::fetch, ask).second; }

  std::pair<batch_report, std::string> train(const train_batch& batch) {
    return tests::ask(*role, &policy_role::train, batch);
  }

  std::pair<weights_published, std::string> publish(std::uint32_t version) {
    return tests::ask(*role, &policy_role::publish, {version});
  }

  bool can_be_pulled(const ticket& t) const {
    tests::watched<int> arrived; // 1 yes, 2 no
    data->pull(t, within, [&](transport::pull_result result) { arrived.change([&](int& x) { x = result ? 1 : 2; }); });
    REQUIRE(arrived.wait([](int x) { return x != 0; }));
    return arrived.get() == 1;
  }

  std::string folder(const std::string& name) {
    std::filesystem::create_directory(scratch / name);
    return (scratch / name).string();
  }
};

} // namespace

TEST_CASE("what is asked of the policy is done in the order of asking") { // PO-1
  running_policy policy;
  CHECK(policy.fetch(policy.group(1)).empty());
  CHECK(policy.fetch(policy.group(2)).empty());
  CHECK(policy.role->keeps(1));
  CHECK(!policy.role->ends_steps());
  const auto before = policy.folder("before"), after = policy.folder("after");
  const auto first = tests::asked(*policy.role, &policy_role::write, {before});
  const auto training = tests::asked(*policy.role, &policy_role::train, policy.step(1, {1, 2}));
  const auto publication = tests::asked(*policy.role, &policy_role::publish, {1});
  const auto second = tests::asked(*policy.role, &policy_role::write, {after});
  CHECK(first.get().second.empty());
  const auto [report, failure] = training.get();
  CHECK(failure.empty());
  CHECK(report.step == 1);
  CHECK(report.trained_tokens == 8);
  CHECK(publication.get().second.empty());
  CHECK(second.get().second.empty());
  CHECK(tests::read_file(std::filesystem::path(before) / "version") == "0\n");
  CHECK(tests::read_file(std::filesystem::path(after) / "version") == "1\n");
  CHECK(!policy.role->keeps(1));
}

TEST_CASE("a group of which too few answers have a score is complained of and not kept") {
  running_policy policy;
  const auto [fetched, error] = tests::ask(*policy.role, &policy_role::fetch, policy.group(1, {1, std::nanf("")}));
  CHECK(error.empty());
  CHECK(fetched.group == 1);
  CHECK(fetched.complaint == "1 of 2 answers have a score, want at least two");
  CHECK(!policy.role->keeps(1));
}

TEST_CASE("a group that cannot be pulled or trained on is answered with an error that names the cause") {
  running_policy policy;
  CHECK(policy.fetch(policy.group(1, {1, 2, 3})).find("column 'reward' has 3 entries for 2 answers")
        != std::string::npos);
  auto unscored = policy.group(3);
  unscored.columns.pop_back();
  CHECK(policy.fetch(unscored) == "column 'reward' is not among the group's columns");
  const auto gone = policy.group(2);
  policy.data->release(gone.columns[0].id);
  CHECK(!policy.fetch(gone).empty());
  CHECK(policy.train(policy.step(1, {1})).second.find("group 1 was never fetched") != std::string::npos);
  CHECK(!tests::ask(*policy.role, &policy_role::write, {"/nowhere/at/all"}).second.empty());
}

TEST_CASE("the policy pulls what it trains on and nothing else") {
  running_policy policy;
  CHECK(policy.fetch(policy.group(1)).empty());
  const auto wanted = columns::wanted_by(policy.p->policy());
  CHECK(wanted.required
        == column::names(column::prompt_tokens, column::tokens, column::mask, column::logprob, column::version,
                         column::lengths, column::reward));
  CHECK(wanted.optional == column::names(column::recomputed, column::kept, column::finish));
}

TEST_CASE("a forgotten group cannot be trained") { // PO-2
  running_policy policy;
  CHECK(policy.fetch(policy.group(1)).empty());
  policy.role->forget({1});
  CHECK(!policy.role->keeps(1));
  CHECK(policy.train(policy.step(1, {1})).second.find("never fetched") != std::string::npos);
}

TEST_CASE("an interrupted step keeps its groups for the next attempt") {
  running_policy policy;
  CHECK(policy.fetch(policy.group(1)).empty());
  // Checkpoints keep the policy's thread busy until the interruption has arrived.
  for (int i = 0; i < 4; ++i)
    tests::asked(*policy.role, &policy_role::write, {policy.folder("busy" + std::to_string(i))});
  const auto training = tests::asked(*policy.role, &policy_role::train, policy.step(1, {1}));
  policy.role->interrupt({1});
  CHECK(training.get().first.interrupted);
  const auto [again, failure] = policy.train(policy.step(1, {1}));
  CHECK(failure.empty());
  CHECK(!again.interrupted);
}

TEST_CASE("a version that the parameters are not is refused, and the last published one can be pulled") {
  running_policy policy;
  CHECK(policy.publish(5).second.find("those of version 0") != std::string::npos);
  std::vector<ticket> published;
  for (std::uint64_t step = 1; step <= 3; ++step) {
    published.push_back(policy.publish(static_cast<std::uint32_t>(step - 1)).first.parameters.tickets.at(0));
    CHECK(policy.fetch(policy.group(step)).empty());
    CHECK(policy.train(policy.step(step, {step})).second.empty());
  }
  std::vector<bool> there;
  for (const auto& ticket : published)
    there.push_back(policy.can_be_pulled(ticket));
  CHECK(there == std::vector<bool>{false, false, true});
}

TEST_CASE("a version that is held can be pulled however many follow, until it is let go of") {
  running_policy policy;
  policy.role->hold({.version = 0, .hold = true});
  const auto held = policy.publish(0).first.parameters.tickets.at(0);
  for (std::uint64_t step = 1; step <= 2; ++step) {
    CHECK(policy.fetch(policy.group(step)).empty());
    CHECK(policy.train(policy.step(step, {step})).second.empty());
    policy.publish(static_cast<std::uint32_t>(step));
  }
  CHECK(policy.can_be_pulled(held));
  policy.role->hold({.version = 0, .hold = false});
  CHECK(!policy.can_be_pulled(held));
}

TEST_CASE("a policy that is ended in the middle of a step interrupts it and goes") {
  running_policy policy;
  CHECK(policy.fetch(policy.group(1)).empty());
  tests::asked(*policy.role, &policy_role::train, policy.step(1, {1}));
  policy.role.reset();
  CHECK(tests::eventually([&] { return policy.data.use_count() == 1; }));
}

} // namespace policy_role_test
