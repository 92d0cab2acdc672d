#include "runtime/train/reward_mix.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <limits>
#include <stdexcept>

namespace reward_mix_test {

using namespace millrace::train;

namespace {

training_group group_of(std::uint64_t id, std::vector<std::vector<float>> parts) {
  training_group group;
  group.id = id;
  group.answers.resize(parts.at(0).size(), {1});
  group.parts = std::move(parts);
  return group;
}

} // namespace

TEST_CASE("rewards: a weighted sum, each as it is") {
  std::vector groups{group_of(1, {{1, 0, 2}, {0.5f, 0.5f, -1}})};
  const std::vector<reward_part> parts{{"rules", 2}, {"judge", -1}};
  mix_rewards(groups, parts);
  CHECK(groups[0].reward == std::vector<float>{1.5f, -0.5f, 5});
  CHECK(mean_raw_reward(groups, parts) == doctest::Approx(2));
}

TEST_CASE("rewards: normalised over the group or over the step, and equal ones say nothing") {
  // Group 1: mean 1, unbiased deviation 1 of {0, 1, 2}; the step {0, 1, 2, 3, 4}: mean 2, deviation sqrt(10 / 4).
  const std::vector<reward_part> by_group{{"x", 1, normalisation::group}}, by_step{{"x", 1, normalisation::batch}};
  std::vector groups{group_of(1, {{0, 1, 2}}), group_of(2, {{3, 4}})};
  mix_rewards(groups, by_group);
  CHECK(groups[0].reward[0] == doctest::Approx(-1).epsilon(1e-5));
  CHECK(groups[0].reward[1] == doctest::Approx(0));
  CHECK(groups[1].reward[1] == doctest::Approx(std::sqrt(0.5)).epsilon(1e-5));
  mix_rewards(groups, by_step);
  CHECK(groups[1].reward[1] == doctest::Approx(2 / std::sqrt(2.5)).epsilon(1e-5));
  std::vector equal{group_of(3, {{7, 7}}), group_of(4, {{7}})};
  for (const auto& parts : {by_group, by_step}) {
    mix_rewards(equal, parts);
    CHECK(equal[0].reward == std::vector<float>{0, 0});
    CHECK(equal[1].reward == std::vector<float>{0});
  }
}

TEST_CASE("rewards: normalised one by one, a reward of large numbers does not drown a small one") {
  std::vector groups{group_of(1, {{0, 1000}, {1, 0}})};
  const std::vector<reward_part> parts{{"large", 1, normalisation::group}, {"small", 1, normalisation::group}};
  mix_rewards(groups, parts);
  CHECK(groups[0].reward[0] == doctest::Approx(0).epsilon(1e-4));
  CHECK(groups[0].reward[1] == doctest::Approx(0).epsilon(1e-4));
}

TEST_CASE("rewards: what is not finite stays so and spoils nothing else") {
  std::vector groups{group_of(1, {{std::numeric_limits<float>::infinity(), 0, 2}}), group_of(2, {{1}})};
  mix_rewards(groups, std::vector<reward_part>{{"x", 1, normalisation::batch}});
  CHECK(std::isinf(groups[0].reward[0]));
  CHECK(groups[0].reward[1] == doctest::Approx(-1).epsilon(1e-5)); // of {0, 2, 1}
  CHECK(groups[1].reward[0] == doctest::Approx(0));
}

TEST_CASE("rewards: columns that disagree are named") {
  std::vector groups{group_of(5, {{1, 2}})};
  CHECK_THROWS_WITH_AS(mix_rewards(groups, std::vector<reward_part>{{"a"}, {"b"}}), "group 5: 1 rewards, want 2",
                       std::invalid_argument);
  groups[0].parts[0].pop_back();
  CHECK_THROWS_WITH_AS(mix_rewards(groups, std::vector<reward_part>{{"a"}}), "group 5: reward.a of 1 answers, want 2",
                       std::invalid_argument);
  CHECK_THROWS_AS(normalisation_named("step"), std::invalid_argument);
}

} // namespace reward_mix_test
