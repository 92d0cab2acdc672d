#include "runtime/supervision/evaluation_plan.hpp"

#include <doctest/doctest.h>

namespace evaluation_plan_test {

using namespace millrace;
using namespace millrace::supervision;

namespace {

const role_instance held_out{"held_out", 0, 1};

constexpr auto with_figures = supervision::evaluation_plan::result::figures;
constexpr auto without_figures = supervision::evaluation_plan::result::nothing;

ticket ticket_of(std::uint32_t version) {
  ticket t;
  t.id = 100 + version;
  return t;
}

std::vector<std::uint32_t> started(supervision::evaluation_plan& plan) {
  std::vector<std::uint32_t> versions;
  for (const auto& start : plan.take_starts()) {
    CHECK(start.parameters == weight_shares(ticket_of(start.version)));
    versions.push_back(start.version);
  }
  return versions;
}

using versions = std::vector<std::uint32_t>;

/// The learner comes to `version` and publishes it, if it is asked to.
bool comes_to(supervision::evaluation_plan& plan, std::uint32_t version, bool first = false) {
  const bool wanted = plan.reached(version, first);
  if (wanted)
    plan.published(version, ticket_of(version));
  return wanted;
}

} // namespace

TEST_CASE("the first version, every n-th and the last are evaluated, no other") {
  supervision::evaluation_plan plan({{"held_out", 2, true}});
  plan.up(held_out, 5);
  versions seen;
  for (std::uint32_t v = 0; v <= 5; ++v) {
    comes_to(plan, v, v == 0);
    for (const auto version : started(plan)) {
      seen.push_back(version);
      CHECK(plan.done(held_out, version, with_figures));
    }
  }
  CHECK(seen == versions{0, 2, 4});
  REQUIRE(plan.ended(5));
  plan.published(5, ticket_of(5));
  CHECK(started(plan) == versions{5});
  CHECK_FALSE(plan.idle());
  CHECK(plan.done(held_out, 5, with_figures));
  CHECK(plan.idle());
}

TEST_CASE("every 0 means before and after; at_start = false leaves out the first") {
  supervision::evaluation_plan both({{"held_out", 0, true}}), after({{"held_out", 0, false}});
  CHECK(both.reached(0, true));
  CHECK_FALSE(both.reached(1, false));
  CHECK_FALSE(after.reached(0, true));
  CHECK(after.ended(1));
}

TEST_CASE("a version that is evaluated already is not evaluated again at the end, nor after a resume") {
  supervision::evaluation_plan plan({{"held_out", 2, true}});
  plan.up(held_out, 5);
  comes_to(plan, 4);
  started(plan);
  plan.done(held_out, 4, with_figures);
  CHECK_FALSE(plan.ended(4));
  CHECK(plan.idle());

  supervision::evaluation_plan resumed({{"held_out", 2, true}});
  resumed.known("held_out", 4);
  CHECK_FALSE(resumed.reached(4, true));
  supervision::evaluation_plan lost({{"held_out", 2, true}});
  CHECK(lost.reached(4, true)); // it was due, and its figures never came
}

TEST_CASE("while one is under way one more waits, the newest that fell due; what it displaces is counted") { // EP-1
  supervision::evaluation_plan plan({{"held_out", 1, true}});
  plan.up(held_out, 5);
  comes_to(plan, 0, true);
  CHECK(started(plan) == versions{0});
  comes_to(plan, 1);
  comes_to(plan, 2);
  comes_to(plan, 3);
  CHECK(started(plan).empty());
  CHECK(plan.skipped("held_out") == 2);
  CHECK(plan.done(held_out, 0, with_figures));
  CHECK(started(plan) == versions{3});
}

TEST_CASE("weights are held while a role evaluates them or waits to, and no longer") { // EP-2
  supervision::evaluation_plan plan({{"held_out", 1, true}, {"other", 1, true}});
  const role_instance other{"other", 0, 1};
  plan.up(held_out, 5);
  plan.up(other, 6);
  comes_to(plan, 0, true);
  CHECK(started(plan) == versions{0, 0});
  comes_to(plan, 1);
  plan.done(held_out, 0, with_figures);
  CHECK(plan.take_released().empty()); // the other one still needs version 0
  plan.done(other, 0, with_figures);
  CHECK(plan.take_released() == versions{0});
  CHECK(started(plan) == versions{1, 1});
  comes_to(plan, 2);
  comes_to(plan, 3);
  CHECK(plan.take_released() == versions{2}); // displaced
}

TEST_CASE("a role that is not up yet keeps the first version waiting") {
  supervision::evaluation_plan plan({{"held_out", 0, true}});
  comes_to(plan, 0, true);
  CHECK(started(plan).empty());
  CHECK_FALSE(plan.idle());
  plan.up(held_out, 5);
  CHECK(started(plan) == versions{0});
}

TEST_CASE("the death of its process costs that evaluation; the last one is begun again, not without end") { // EP-3
  supervision::evaluation_plan plan({{"held_out", 1, true}});
  plan.up(held_out, 5);
  comes_to(plan, 0, true);
  started(plan);
  CHECK(plan.gone(7).empty());
  CHECK((plan.gone(5) == std::vector{held_out}));
  CHECK(plan.lost("held_out") == 1);
  CHECK(plan.idle());
  CHECK(plan.take_released() == versions{0});
  CHECK_FALSE(plan.done(held_out, 0, with_figures)); // too late

  plan.up({"held_out", 0, 2}, 6);
  CHECK(started(plan).empty());
  REQUIRE(plan.ended(1));
  plan.published(1, ticket_of(1));
  std::uint32_t life = 2;
  int begun = 0;
  while (started(plan) == versions{1}) {
    ++begun;
    plan.gone(life + 4);
    ++life;
    plan.up({"held_out", 0, life}, life + 4);
  }
  CHECK(begun == supervision::evaluation_plan::last_attempts);
  CHECK(plan.idle());
}

TEST_CASE("what is never published is skipped, and an error ends an evaluation without figures") {
  supervision::evaluation_plan plan({{"held_out", 1, true}});
  plan.up(held_out, 5);
  CHECK(plan.reached(1, false));
  plan.unpublished(1);
  CHECK(plan.idle());
  CHECK(plan.skipped("held_out") == 1);
  comes_to(plan, 2);
  started(plan);
  CHECK(plan.done(held_out, 2, without_figures));
  CHECK(plan.lost("held_out") == 1);
  CHECK(plan.idle());
}

TEST_CASE("a cancelled plan waits for nothing and lets go of everything") {
  supervision::evaluation_plan plan({{"held_out", 1, true}});
  plan.up(held_out, 5);
  comes_to(plan, 0, true);
  started(plan);
  comes_to(plan, 1);
  plan.cancel();
  CHECK(plan.idle());
  CHECK(plan.take_released() == versions{0, 1});
  CHECK_FALSE(plan.reached(2, false));
}

} // namespace evaluation_plan_test
