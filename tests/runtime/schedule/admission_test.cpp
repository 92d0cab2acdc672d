#include "runtime/schedule/admission.hpp"
#include "runtime/schedule/age_limit.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <string>

namespace admission_test {

using namespace millrace;
using namespace millrace::schedule;

namespace {

config gate(std::uint32_t size, double depth, double warmup, double oversample) {
  config result;
  result.groups_per_step = size;
  result.steps = 100;
  result.gate.depth = depth;
  result.gate.warmup = warmup;
  result.tail.oversample_prompts = oversample;
  return result;
}

std::uint64_t limit(const config& settings, version_id v, std::uint32_t cut) {
  return admission_limit(settings, {v, 0, cut, true});
}

} // namespace

TEST_CASE("the gate lets a whole number of groups start, whatever binary fractions make of the keys") {
  // 5 (0 + 1.3) = 6.5; later 5 (7 + 1.3) = 41.5.
  CHECK(limit(gate(5, 0.3, 0, 1), 0, 0) == 7);
  CHECK(limit(gate(5, 0.3, 0, 1), 7, 7) == 42);
  // 4 (0 + 2.8) (1 + 0.25) = 14 exactly; in doubles 14.000000000000002.
  CHECK(4 * 2.8 * 1.25 == 14.0);
  CHECK(4 * (0 + (1 + 0.3 + 1.5)) + (1.25 - 1) * 4 * (0 + (1 + 0.3 + 1.5)) >= 14.0);
  CHECK(limit(gate(4, 0.3, 1.5, 1.25), 0, 0) == 14);
  // 10 (1 + 0.1) = 11 exactly, though 0.1 is more than a tenth as a double; ten times 0.7 is 7 though 0.7 is less.
  for (std::uint32_t v = 0; v < 90; ++v) {
    CHECK(limit(gate(10, 0.1, 0, 1), v, v) == 10 * v + 11);
    CHECK(limit(gate(10, 0.7, 0, 1), v, v) == 10 * v + 17);
    CHECK(limit(gate(10, 0, 0, 1.1), v, v) == 10 * v + 11);
  }
  CHECK(limit(gate(3, std::numeric_limits<double>::infinity(), 0, 1), 4, 4) == 300);
  CHECK(limit(gate(10, 2, 0, 1.5), 99, 99) == 1005); // the run's last step: one step of lead
}

TEST_CASE("the limit is the exact one for any keys with a few digits") {
  std::mt19937_64 random(5);
  for (int round = 0; round < 20000; ++round) {
    const std::uint64_t size = 1 + random() % 100, hundredths = random() % 500, more = random() % 300,
                        extra = random() % 200;
    const auto written = [](std::uint64_t n) {
      return std::stod(std::to_string(n / 100) + "." + (n % 100 < 10 ? "0" : "") + std::to_string(n % 100));
    };
    auto set = gate(static_cast<std::uint32_t>(size), written(hundredths), written(more), written(100 + extra));
    set.steps = 200;
    const std::uint64_t v = random() % 100, cut = v + random() % 3;
    // In hundredths of a step, then of a group, squared.
    const auto lead = std::max(100 + hundredths,
                               more > 0 && 100 + hundredths + more > 100 * v ? 100 + hundredths + more - 100 * v : 0);
    const auto produced = 100 * v + lead;
    const auto uncut = produced > 100 * cut ? produced - 100 * cut : 0;
    const auto squared = size * (produced * 100 + extra * uncut);
    REQUIRE(admission_limit(set, {static_cast<version_id>(v), 0, static_cast<std::uint32_t>(cut), true})
            == (squared + 9999) / 10000);
  }
}

TEST_CASE("keys finer than a millionth are refused, since nobody could count their groups by hand") {
  auto set = gate(4, 0.1234567, 0, 1);
  set.stale.max = 3;
  REQUIRE(problems(set).size() == 1);
  CHECK(problems(set)[0].text
        == "found 0.1234567, want at most six digits after the point: groups and answers are counted exactly");
  CHECK(is_in_millionths(0.123456));
  CHECK(is_in_millionths(999999.999999));
}

TEST_CASE("generation grows by a share of a step under one version, by one group at least") {
  config set = gate(10, 1, 0, 1);
  set.gate.burst = 0.25;
  CHECK(burst_groups(set) == 2);
  set.gate.burst = 0.3; // 3, though 10 x 0.3 in doubles may be less
  CHECK(burst_groups(set) == 3);
  set.gate.burst = 0.01;
  CHECK(burst_groups(set) == 1);
}

// B = 10 in 4 updates of 2, 3, 2 and 3 groups: they begin after 0, 2, 5 and 7 of them.
TEST_CASE("the bound counts versions, updates or groups, those of the step under way too") {
  config set;
  set.groups_per_step = 10;
  set.clock.minibatches = 4;
  set.stale.max = 1;
  CHECK(age_limit(set).oldest(3, 3) == 2);
  CHECK(age_limit(set).trained_within(2) == 40); // steps 0 to 3
  set.clock.unit = lag_unit::update;
  set.stale.max = 5; // update 1 of the next step
  CHECK(age_limit(set).oldest(3, 1) == 2);
  CHECK(age_limit(set).oldest(3, 2) == 3);
  CHECK(age_limit(set).trained_within(2) == 35); // steps 0 to 2, then 2 and 3 groups
  CHECK(age_limit(set).versions() == 0);
  set.clock.unit = lag_unit::group;
  set.stale.max = 16; // the update that begins after 5 of the next step lies 15 behind, the one after 7 lies 17
  CHECK(age_limit(set).oldest(3, 2) == 2);
  CHECK(age_limit(set).oldest(3, 3) == 3);
  CHECK(age_limit(set).trained_within(2) == 37);
  CHECK(age_limit(set).versions() == 0);
}

TEST_CASE("what the bound leaves to be trained is what all updates that it allows train together") {
  std::mt19937_64 random(9);
  for (int round = 0; round < 2000; ++round) {
    config set;
    set.groups_per_step = 1 + random() % 9;
    set.clock.minibatches = 1 + random() % set.groups_per_step;
    set.clock.unit = static_cast<lag_unit>(random() % 3);
    set.stale.max = random() % 30;
    const auto version = static_cast<version_id>(random() % 6);
    std::uint64_t within = 0;
    std::int64_t whole = -1;
    for (std::uint32_t step = 0; step < 60; ++step) {
      std::uint32_t allowed = 0;
      for (std::uint32_t part = 0; part < set.clock.minibatches; ++part)
        if (age_limit(set).oldest(step, part) <= version) {
          within = std::uint64_t{step} * set.groups_per_step + set.part_begin(part + 1);
          ++allowed;
        }
      if (allowed == set.clock.minibatches && step >= version)
        whole = std::max<std::int64_t>(whole, step - version);
    }
    if (age_limit(set).versions() >= 0)
      CHECK(age_limit(set).trained_within(version) == within);
    CHECK(age_limit(set).versions() == whole);
  }
}

} // namespace admission_test
