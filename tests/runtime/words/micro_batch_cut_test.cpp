#include "runtime/words/micro_batch_cut.hpp"

#include <doctest/doctest.h>

namespace micro_batch_cut_test {

using namespace millrace;

using places = std::vector<std::size_t>;

TEST_CASE("groups are cut by what a pass is fed, between answers, and the prompt is fed again") {
  // 10 + 4 + 4 = 18, and a third answer would make 22
  const std::vector<fed_group> groups{{10, {4, 4, 4}}, {3, {0, 0}}};
  const auto cut = cut_by_tokens(groups, 20, false);
  REQUIRE(cut.size() == 2);
  CHECK(cut[0].fed_tokens == 18);
  CHECK(cut[1].fed_tokens == 10 + 4 + 3);
  REQUIRE(cut[1].parts.size() == 2);
  CHECK(cut[1].parts[0].first_answer == 2);
  CHECK(cut[1].parts[1].answers == 2);
  CHECK(cut_by_tokens(groups, 1, false).size() == 5); // an answer always fits
  CHECK(cut_by_tokens(groups, 1, true).size() == 2);
}

TEST_CASE("passes that are computed side by side get as few micro-batches as there can be, about equally long") {
  const std::vector<fed_group> groups{{10, {4, 4, 4}}, {3, {0, 0}}}; // 25 tokens
  const auto fed = [&](std::int64_t budget, int at_once, bool whole = false) {
    std::vector<std::int64_t> tokens;
    for (const auto& batch : cut_at_once(groups, budget, whole, at_once))
      tokens.push_back(batch.fed_tokens);
    return tokens;
  };
  using tokens = std::vector<std::int64_t>;
  CHECK(fed(100, 1) == tokens{25});
  CHECK(fed(100, 2) == tokens{18, 17}); // 17 at most would take three
  CHECK(fed(100, 3) == tokens{14, 14, 17});
  CHECK(fed(22, 2) == tokens{18, 17}); // 22 and 3 by tokens alone
  CHECK(fed(100, 2, true) == tokens{22, 3});
  CHECK(fed(1, 2).size() == 5); // one more would be empty
  CHECK(fed(100, 64).size() == 5);
  CHECK(cut_at_once({}, 100, false, 2).empty());
}

TEST_CASE("a step is cut into updates whose counts of groups differ by one at most") {
  CHECK(ends_of_updates(5, 2) == places{2, 5});
  CHECK(ends_of_updates(2, 5) == places{1, 2});
  CHECK(ends_of_updates(0, 2).empty());
}

TEST_CASE("ranks take the longest micro-batches first, of equal ones the earlier") {
  const std::vector<std::int64_t> fed{3, 7, 3, 9};
  CHECK(longest_first(fed) == places{3, 1, 0, 2});
}

} // namespace micro_batch_cut_test
