#include "runtime/supervision/learner_deaths.hpp"

#include <doctest/doctest.h>

namespace supervision_test {

using millrace::supervision::learner_deaths;

TEST_CASE("deaths of a learner count together as long as the run comes no further") {
  learner_deaths deaths;
  CHECK(deaths.died({.step = 0}) == 1);
  CHECK(deaths.died({.step = 0}) == 2);
  CHECK(deaths.died({.step = 7}) == 1);
  CHECK(deaths.died({.step = 5}) == 2); // from the checkpoint of step 4: trained again, and no further
  CHECK(deaths.died({.step = 7}) == 3);
  CHECK(deaths.died({.step = 7, .part = 1}) == 1);
  CHECK(deaths.died({.step = 8}) == 1);
}

TEST_CASE("a run that goes on from a late step and comes no further ends as one from the beginning") {
  learner_deaths late;
  for (int i = 1; i <= learner_deaths::most; ++i)
    CHECK(late.died({.step = 1000}) == i);
}

} // namespace supervision_test
