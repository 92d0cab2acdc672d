#include "runtime/supervision/unscored_answers.hpp"

#include <doctest/doctest.h>

namespace unscored_answers_test {

using millrace::group_columns;
using millrace::supervision::unscored_answers;

namespace {

group_columns dropped(const std::string& why, std::map<std::string, std::int64_t> failures = {}) {
  return {.group = 7,
          .attempt = 0,
          .columns = {},
          .summary = {},
          .complaint = why,
          .scores = {.answers = 4, .lost = 4, .failures = std::move(failures), .first = why}};
}

group_columns scored(std::int64_t lost = 0) {
  group_columns group{.group = 8, .attempt = 0, .columns = {}, .summary = {}, .complaint = {}};
  group.scores = {.answers = 4, .lost = lost, .failures = {}, .first = lost > 0 ? "crash: it raised" : ""};
  if (lost > 0)
    group.scores.failures["crash"] = lost;
  return group;
}

} // namespace

TEST_CASE("answers without a score end a run once they are more than their share of a role's last ones") {
  unscored_answers book({{"rules", 0.5}});
  for (int i = 0; i < 15; ++i)
    book.add("rules", dropped("took longer than 5 ms"));
  CHECK(book.too_many() == ""); // too few are known
  book.add("rules", dropped("took longer than 5 ms"));
  CHECK(book.too_many()
        == "roles.rules: 64 of the last 64 answers were lost for want of a score, more than its max_failures allows; "
           "the last one: group 7: took longer than 5 ms");
  for (int i = 0; i < 16; ++i)
    book.add("rules", scored());
  CHECK(book.too_many() == "");
  for (int i = 0; i < 64; ++i)
    book.add("rules", scored());
  for (int i = 0; i < 64; ++i)
    book.add("rules", scored(2));
  CHECK(book.too_many() == "");
  book.add("rules", scored(3));
  CHECK(book.too_many().starts_with("roles.rules: 129 of the last 256 answers"));
}

TEST_CASE("a role's share does not hide in the answers of another") {
  unscored_answers book({{"judge", 0.1}, {"rules", 0.1}});
  for (int i = 0; i < 16; ++i) {
    book.add("judge", dropped("no"));
    for (int k = 0; k < 20; ++k)
      book.add("rules", scored());
  }
  CHECK(book.too_many().starts_with("roles.judge: "));
}

TEST_CASE("no role may lose everything for ever, whatever share it may lose") {
  unscored_answers all({{"rules", 1}});
  for (int i = 0; i < 63; ++i)
    all.add("rules", dropped("crash: it raised", {{"crash", 3}, {"timeout", 1}}));
  CHECK(all.too_many() == "");
  all.add("rules", scored(3)); // one usable answer is enough to go on
  for (int i = 0; i < 63; ++i)
    all.add("rules", dropped("crash: it raised", {{"crash", 3}, {"timeout", 1}}));
  CHECK(all.too_many() == "");
  all.take_figures();
  all.add("rules", dropped("timeout: too late", {{"timeout", 4}}));
  CHECK(all.too_many()
        == "roles.rules: every one of the last 64 groups was lost (crash 189, timeout 67), and none is left to train; "
           "the last one: group 7: timeout: too late");
  unscored_answers unbounded({}); // a role that has no such key
  const group_columns lost{
      .group = 9, .attempt = 0, .columns = {}, .summary = {}, .complaint = "1 of 4 answers have a score"};
  for (int i = 0; i < 63; ++i)
    unbounded.add("learner", lost);
  CHECK(unbounded.too_many() == "");
  unbounded.add("learner", lost);
  CHECK(
      unbounded.too_many()
      == "roles.learner: every one of the last 64 groups was lost, and none is left to train; the last one: group 9: 1 "
         "of 4 answers have a score");
}

TEST_CASE("what has no score is counted by role, by kind and by step") {
  unscored_answers book({});
  const std::map<std::string, double> none{{"groups/unscored", 0},
                                           {"answers/masked", 0},
                                           {"verifier/failures/timeout", 0},
                                           {"verifier/failures/crash", 0},
                                           {"verifier/failures/malformed", 0},
                                           {"verifier/failures/refused", 0}};
  CHECK(book.take_figures() == none);
  book.add("rules", dropped("x", {{"timeout", 2}}));
  book.add("rules", dropped("y", {{"malformed", 1}}));
  book.add("judge", dropped("z"));
  CHECK(book.add("rules", scored(1)) == "group 8: rules: 1 of 4 answers masked, without a score: crash: it raised");
  CHECK(book.add("rules", scored(2)) == ""); // one line a step
  auto counted = none;
  counted["groups/unscored"] = 3;
  counted["groups/unscored/judge"] = 1;
  counted["groups/unscored/rules"] = 2;
  counted["answers/masked"] = 3;
  counted["verifier/failures/timeout"] = 2;
  counted["verifier/failures/crash"] = 3;
  counted["verifier/failures/malformed"] = 1;
  CHECK(book.take_figures() == counted);
  CHECK(book.take_figures() == none);
}

} // namespace unscored_answers_test
