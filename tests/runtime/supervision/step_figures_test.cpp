#include "runtime/supervision/step_figures.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

namespace step_figures_test {

using millrace::supervision::step_figures;
using figures = std::map<std::string, double>;

TEST_CASE("rewards by rule are means over answers, rewards by source over groups") {
  step_figures step;
  step.add_group({{"reward", {4, 4}}, {"reward.number", {2, 4}}, {"rule/python/words", {12, 4}}}, "");
  step.add_group({{"reward", {0, 2}}, {"reward.number", {1, 2}}, {"rule/python/words", {0, 0}}}, "");
  CHECK(step.figures() == figures{{"rewards/number/mean", 0.5}, {"rule/python/words", 3}});
  step_figures mixed;
  mixed.add_group({{"reward", {1, 1}}}, "sums");
  mixed.add_group({{"reward", {0.5, 1}}}, "words");
  mixed.add_group({{"reward", {0, 1}}}, "sums");
  mixed.add_group({}, "unscored");
  mixed.add_masked(7);
  CHECK(mixed.figures()
        == figures{{"groups/from/sums", 2},
                   {"groups/from/unscored", 1},
                   {"groups/from/words", 1},
                   {"reward/sums", 0.5},
                   {"reward/words", 0.5},
                   {"tokens/masked", 7}});
}

TEST_CASE("what a checkpoint keeps of a step goes on as if there had been no stop") {
  step_figures whole, before;
  for (auto* step : {&whole, &before}) {
    step->add_group({{"reward", {1, 1}}, {"reward.exact", {1, 1}}}, "sums");
    step->add_masked(3);
  }
  step_figures after(before.saved());
  for (auto* step : {&whole, &after})
    step->add_group({{"reward", {0.25, 1}}, {"reward.exact", {0, 1}}}, "sums");
  CHECK(after.figures() == whole.figures());
  CHECK(after.figures().at("reward/sums") == 0.625);
  CHECK(step_figures(step_figures().saved()).figures().empty());
  CHECK_THROWS_AS(step_figures("{\"groups\": 1}"), millrace::input_error);
  CHECK_THROWS_AS(step_figures("no"), millrace::input_error);
}

} // namespace step_figures_test
