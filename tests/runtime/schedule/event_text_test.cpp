#include "runtime/schedule/event_text.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

namespace event_text_test {

using namespace millrace;
using namespace millrace::schedule;

TEST_CASE("every event is a line, and the line is the event again") {
  const event all[] = {worker_joined{3, 4, 7, "rollout/0 of host b"},
                       worker_joined{3, 4, std::nullopt, "rollout/0"},
                       worker_joined{3, 4, std::nullopt, "rollout/0", true},
                       worker_lost{2},
                       version_acknowledged{1, 9},
                       group_finished{5, 2, {{1, 10}, {3, 4}}, 6, {{1, 11}, {3, 3}}},
                       group_finished{5, 2, {}, 0, {}},
                       group_finished{5, 2, {{1, 10}}, 0, {}, 12},
                       weights_overdue{1, 9},
                       group_interrupted{5, 2, {{1, 10}}},
                       group_ready{5, 2},
                       group_flat{5, 2},
                       group_failed{5, 2, true, 8, "the host is gone"},
                       group_failed{5, 2, false, 0, ""},
                       group_overdue{5, 2},
                       group_lost{5, 2},
                       batch_trained{4, 100, 7, 2},
                       training_lost{4, 1},
                       prompts_exhausted{77},
                       checkpointed{4},
                       stop_requested{},
                       checkpoint_wanted{}};
  for (const auto& one : all) {
    const auto text = event_text(one);
    CAPTURE(text);
    CHECK(event_text(read_event(text)) == text);
    CHECK(read_event(text).index() == one.index());
  }
  CHECK(event_text(all[0]) == "joined 3 4 7 own rollout/0 of host b");
  CHECK(event_text(all[5]) == "finished 5 2 1:10,3:4 6 1:11,3:3 0");
  CHECK(event_text(all[16]) == "trained 4 2 100 7");
}

TEST_CASE("a line that is no event is refused") {
  for (const auto* wrong : {"", "begun 1", "lost", "lost x", "lost 1 2", "ready 1", "finished 1 1 3 0 -",
                            "failed 1 1 maybe 0 why", "trained 1 0 5"})
    CHECK_THROWS_AS(read_event(wrong), millrace::input_error);
}

} // namespace event_text_test
