#include "runtime/supervision/prompt_results.hpp"
#include "tests/runtime/pipeline/fixture.hpp"

#include <doctest/doctest.h>

namespace prompt_results_test {

using namespace millrace;
using supervision::prompt_results;

TEST_CASE("the first rule's mean score is a prompt's result, and each is taken once, by index") {
  prompt_results results(test::parsed(test::changed(test::valid, "generator = { type = \"arithmetic\" }",
                                                    "file = \"rows.jsonl\"\nsampler = \"difficulty\"")));
  results.scored(7, {{"reward", {4.8, 4}}, {"reward.number", {2, 4}}, {"reward.exact", {4, 4}}});
  results.scored(3, {{"reward", {4.8, 4}}, {"reward.number", {1, 4}}});
  results.scored(4, {{"reward.judge", {4, 4}}});
  results.scored(7, {{"reward.number", {3, 4}}});
  const auto taken = results.take();
  REQUIRE(taken.prompts.size() == 2);
  CHECK(taken.prompts[0].index == 3);
  CHECK(taken.prompts[0].share == 0.25);
  CHECK(taken.prompts[1].index == 7);
  CHECK(taken.prompts[1].share == 0.75);
  CHECK(results.take().prompts.empty());
}

TEST_CASE("where results decide nothing, none are kept") {
  prompt_results results(test::parsed(test::valid));
  results.scored(7, {{"reward.number", {2, 4}}, {"", {4, 4}}});
  CHECK(results.take().prompts.empty());
}

} // namespace prompt_results_test
