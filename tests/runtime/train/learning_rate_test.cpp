#include "runtime/train/learning_rate.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <stdexcept>

namespace learning_rate_test {

using namespace millrace::train;

namespace {

learning_rate_options of(decay schedule, std::int64_t warmup, std::int64_t total) {
  learning_rate_options o;
  o.lr = 1;
  o.schedule = schedule;
  o.warmup_steps = warmup;
  o.total_steps = total;
  return o;
}

} // namespace

TEST_CASE("the learning rate warms up, decays and stays at its end") {
  auto o = of(decay::linear, 3, 7);
  o.final_lr_fraction = 0.5;
  const double want[] = {0.25, 0.5, 0.75, 1, 0.875, 0.75, 0.625, 0.5, 0.5};
  for (int i = 0; i < 9; ++i)
    CHECK(learning_rate(o, i) == doctest::Approx(want[i]).epsilon(1e-12));
  o.schedule = decay::cosine;
  CHECK(learning_rate(o, 5) == doctest::Approx(0.75).epsilon(1e-12)); // half way
  CHECK(learning_rate(o, 7) == doctest::Approx(0.5).epsilon(1e-12));
  o.schedule = decay::constant;
  CHECK(learning_rate(o, 100) == 1);
}

TEST_CASE("warm-up, stable, decay: the stable share keeps the rate, the rest falls to the floor") {
  auto o = of(decay::wsd, 2, 12);
  o.stable_share = 0.6; // of the ten steps after the warm-up: 2 to 8
  o.final_lr_fraction = 0.2;
  const double want[] = {1. / 3, 2. / 3, 1, 1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2, 0.2};
  for (int i = 0; i < 14; ++i)
    CHECK(learning_rate(o, i) == doctest::Approx(want[i]).epsilon(1e-12));
  o.form = wsd_form::sqrt;
  CHECK(learning_rate(o, 9) == doctest::Approx(0.2 + 0.8 * 0.5).epsilon(1e-12)); // 1 - sqrt(1/4)
  o.form = wsd_form::cosine;
  CHECK(learning_rate(o, 10) == doctest::Approx(0.2 + 0.8 * 0.5).epsilon(1e-12));
  o.stable_share = 1; // never decays
  CHECK(learning_rate(o, 12) == 1);
}

TEST_CASE("without a warm-up the courses are those of transformers") {
  const auto golden = nlohmann::json::parse(std::ifstream("tests/golden/optimizer.json")).at("schedules");
  const auto check = [&](const char* name, learning_rate_options o) {
    CAPTURE(name);
    o.total_steps = 12;
    const auto& want = golden.at(name);
    REQUIRE(want.size() == 14);
    for (std::size_t s = 0; s < want.size(); ++s) {
      CAPTURE(s);
      // Past the end transformers' cosine would rise again; here it stays.
      if (s <= 12)
        CHECK(learning_rate(o, static_cast<std::int64_t>(s)) == doctest::Approx(want[s].get<double>()).epsilon(1e-12));
    }
  };
  check("linear", of(decay::linear, 0, 12));
  check("cosine", of(decay::cosine, 0, 12));
  auto floor = of(decay::cosine, 0, 12);
  floor.final_lr_fraction = 0.25;
  check("cosine_floor", floor);
  auto wsd = of(decay::wsd, 0, 12);
  wsd.final_lr_fraction = 0.25;
  wsd.stable_share = 8. / 12;
  check("wsd_linear", wsd);
  wsd.form = wsd_form::cosine;
  check("wsd_cosine", wsd);
  wsd.form = wsd_form::sqrt;
  check("wsd_sqrt", wsd);
}

TEST_CASE("words for courses are known or refused") {
  CHECK(decay_named("wsd") == decay::wsd);
  CHECK(wsd_form_named("sqrt") == wsd_form::sqrt);
  CHECK_THROWS_WITH_AS(decay_named("cosin"), doctest::Contains("want constant, linear, cosine or wsd"),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(wsd_form_named("x"), doctest::Contains("wsd_form 'x'"), std::invalid_argument);
}

} // namespace learning_rate_test
