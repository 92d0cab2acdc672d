#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

namespace deltas_test {

using namespace millrace::tests;

namespace {

/// A run of a wide model in bfloat16 and small steps, its rollouts in processes that read everything over TCP.
struct small_steps {
  temporary_folder folder;
  tiny_run run;

  small_steps() : run({.steps = 10, .model = folder / "wide"}) { write_wide_model(folder / "wide"); }

  strings start(bool deltas) const {
    auto sets = placed_apart(false);
    for (const char* set : {"models.tiny.dtype=bfloat16", "roles.learner.optimizer.lr=1e-6", "placement.transport=tcp"})
      sets.insert(sets.end(), {"--set", set});
    sets.insert(sets.end(), {"--set", std::string("roles.learner.publish_deltas=") + (deltas ? "true" : "false")});
    return run.start(sets);
  }
};

} // namespace

TEST_CASE("deltas: a tenth of the bytes travels at a small learning rate, and every step is the same bit for bit") {
  const small_steps whole, changes;
  for (const auto* one : {&whole, &changes}) {
    const auto done = run_to_end(one->start(one == &changes), 60);
    CAPTURE(done.err);
    REQUIRE(done.status == 0);
  }
  CHECK(changes.run.files().learning_curve() == whole.run.files().learning_curve());
  const auto rows = changes.run.files().metrics();
  CHECK(rows.front().at("weights/published_share") == 1); // the first version
  for (std::size_t i = 2; i < rows.size(); ++i) {
    CHECK(rows[i].at("weights/published_share").get<double>() > 0);
    CHECK(rows[i].at("weights/published_share").get<double>() < 0.1);
  }
  const auto all = whole.run.files().bytes_pulled("rollout"), less = changes.run.files().bytes_pulled("rollout");
  CAPTURE(all);
  CHECK(less > 0);
  CHECK(less < all / 4); // one whole version, and what differed
}

TEST_CASE("deltas: a rollout that starts again pulls a whole version, and goes on with what differs") {
  const small_steps small;
  running_command running(small.start(true));
  const auto files = small.run.files();
  check_goes_on_without(running, files, "rollout/0", 10);
  CHECK(running.err().find("its delta leads elsewhere") == std::string::npos);
}

} // namespace deltas_test
