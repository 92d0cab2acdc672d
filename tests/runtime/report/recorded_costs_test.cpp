#include "runtime/report/least_squares.hpp"
#include "runtime/report/recorded_costs.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <vector>

namespace recorded_costs_test {

using namespace millrace;
using namespace millrace::report;

namespace {

/// What the made-up machine costs.
constexpr double step_s = 0.002, slot_s = 0.0005, contention = 1.5;                                     // decoding
constexpr double train_s = 0.1, token_s = 2e-4, square_s = 3e-7, train_contention = 1.25, cold_s = 0.4; // training
constexpr double turn_s = 0.005, layout_s = 0.03, waiting_s = 0.25;

/// A run made of these costs: every step is trained, `share` of it beside decoding; what is decoded beside it runs
/// slower.
recorded_run made_up(bool overlap) {
  recorded_run run;
  run.folder = "made-up";
  double now = 1, trained = 0;
  for (std::int64_t step = 1; step <= 12; ++step) {
    // Two spans of decoding alone, with other numbers of slots.
    for (const double occupied : {2.0 + static_cast<double>(step % 3), 6.0}) {
      const double steps = 40, took = steps * (step_s + slot_s * occupied);
      run.spans.push_back({"rollout/0",
                           "decode",
                           "compute",
                           now,
                           took + 0.01,
                           {{"tokens", steps * occupied}, {"steps", steps}, {"prefill_s", 0.01}}});
      now += took + 0.01;
    }
    std::vector<std::int64_t> lengths{20 + 7 * (step % 5), 100 + 90 * (step % 4)};
    double tokens = 0, squares = 0;
    for (const auto length : lengths) {
      run.answers.push_back({static_cast<std::uint64_t>(step - 1), step, length, 0, 0, 0});
      tokens += static_cast<double>(length);
      squares += static_cast<double>(length * length);
    }
    trained += tokens;
    telemetry::metric_row row;
    row.step = step;
    row.set(telemetry::metric::tokens, trained);
    row.set(telemetry::metric::prompt_tokens, 30 * tokens / 100);
    row.set(telemetry::metric::flat_tokens, tokens / 4);
    run.metrics.push_back(row);
    run.counters.push_back({"groups", "waiting for columns", now - waiting_s, 1});
    run.counters.push_back({"groups", "waiting for columns", now, 0});
    const double work = train_s + token_s * tokens + square_s * squares + (step == 1 ? cold_s : 0);
    // Beside: decoding for a time that differs from step to step.
    const double beside = overlap ? work * 0.2 * static_cast<double>(step % 4) : 0;
    if (beside > 0)
      run.spans.push_back({"rollout/0",
                           "decode",
                           "compute",
                           now,
                           beside,
                           {{"tokens", 3 * beside / (step_s + 3 * slot_s) / contention},
                            {"steps", beside / (step_s + 3 * slot_s) / contention}}});
    const double took = work - beside / train_contention + beside;
    run.spans.push_back({"learner/0", "train step " + std::to_string(step), "compute", now, took, {}});
    now += took;
    run.spans.push_back(
        {"learner/0", "publish version " + std::to_string(step), "transfer", now + turn_s - 0.001, 0.001, {}});
    run.spans.push_back({"layout of rollout/0",
                         "layout of version " + std::to_string(step),
                         "compute",
                         now + turn_s + layout_s - 0.01,
                         0.01,
                         {}});
    now += turn_s + layout_s;
  }
  run.end_s = now;
  return run;
}

} // namespace

TEST_CASE("costs of a run made of known costs are found again, also where training and decoding slow each other down") {
  for (const bool overlap : {false, true}) {
    CAPTURE(overlap);
    schedule::workload shape;
    shape.slots = 8;
    const auto found = costs_of(made_up(overlap), shape);
    const auto& c = found.costs;
    REQUIRE(c.decode.size() == 3);
    CHECK(c.decode[0].step_s == doctest::Approx(step_s + slot_s).epsilon(1e-3));
    CHECK(c.decode[1].step_s == doctest::Approx(step_s + 2 * slot_s).epsilon(1e-3));
    CHECK(c.decode[2].occupied == 8);
    CHECK(c.decode[2].step_s == doctest::Approx(step_s + 8 * slot_s).epsilon(1e-3));
    CHECK(c.train_s == doctest::Approx(train_s).epsilon(0.02));
    CHECK(c.train_token_s == doctest::Approx(token_s).epsilon(0.02));
    CHECK(c.train_square_s == doctest::Approx(square_s).epsilon(0.02));
    CHECK(c.first_train_s == doctest::Approx(cold_s).epsilon(0.03));
    CHECK(c.contention == doctest::Approx(overlap ? contention : 1).epsilon(0.02));
    CHECK(c.train_contention == doctest::Approx(overlap ? train_contention : 1).epsilon(0.03));
    CHECK(found.notes.size()
          == (overlap ? 1 : 3)); // layout never ran beside training, and the others beside each other
    CHECK(c.copy_s == doctest::Approx(turn_s));
    CHECK(c.layout_s == doctest::Approx(layout_s));
    CHECK(c.layout_beside == 1);
    CHECK(c.columns_s == doctest::Approx(waiting_s));
    CHECK(c.flat_share == doctest::Approx(0.25));
    REQUIRE(c.lengths.size() == 12);
    double tokens = 0;
    for (const auto& group : c.lengths)
      tokens += group[0] + group[1];
    CHECK(c.prompt_tokens == doctest::Approx(0.3 * tokens / 12)); // 30 for each 100 tokens trained
    CHECK(c.lengths[0] == std::vector<std::int32_t>{27, 190});
  }
}

TEST_CASE("a trace that never filled the slots says so") {
  schedule::workload shape;
  shape.slots = 32;
  const auto notes = costs_of(made_up(true), shape).notes;
  CHECK(std::find(notes.begin(), notes.end(),
                  "no more than 6 answers were decoded at once: steps with up to 32 are extrapolated")
        != notes.end());
}

TEST_CASE("a run that tells no costs is refused with what it lacks") {
  const auto refused = [](auto change, const char* why) {
    auto run = made_up(false);
    change(run);
    CHECK_THROWS_WITH_AS(costs_of(run, {}), doctest::Contains(why), input_error);
  };
  refused([](auto& run) { run.spans.clear(); }, "run.trace");
  refused([](auto& run) { run.answers.clear(); }, "trajectories_fraction");
  refused([](auto& run) { std::erase_if(run.spans, [](const auto& s) { return s.name == "decode"; }); }, "no decoding");
  refused([](auto& run) { run.metrics.resize(1); }, "at least two");
}

TEST_CASE("least squares keep to coefficients of at least 0") {
  // y = 2 + 3 x exactly; with y falling in x the best that is allowed is the mean.
  const std::vector<std::vector<double>> rows{{1, 1}, {1, 2}, {1, 4}};
  const auto line = non_negative_fit(rows, std::vector<double>{5, 8, 14});
  CHECK(line.coefficients[0] == doctest::Approx(2));
  CHECK(line.coefficients[1] == doctest::Approx(3));
  CHECK(line.squares == doctest::Approx(0));
  const auto falling = non_negative_fit(rows, std::vector<double>{9, 6, 3});
  CHECK(falling.coefficients[0] == doctest::Approx(6));
  CHECK(falling.coefficients[1] == 0);
  CHECK(falling.squares == doctest::Approx(9 + 0 + 9));
  CHECK(non_negative_fit({}, {}).coefficients.empty());
}

} // namespace recorded_costs_test
