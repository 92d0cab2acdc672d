#include "runtime/rules/rule_set.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

#include <limits>

namespace rule_set_test {

using namespace millrace;
using namespace millrace::rules;

namespace {

class fixed_rule final : public rule {
public:
  explicit fixed_rule(score s) : score_(std::move(s)) {}

  score evaluate(const rule_input&) const override { return score_; }

private:
  score score_;
};

weighted_rule fixed(std::string name, double weight, score s) {
  return {std::move(name), weight, std::make_shared<fixed_rule>(std::move(s))};
}

} // namespace

TEST_CASE("rule_set: the total is the weighted sum and every rule's own value is kept") {
  const rule_set set({fixed("a", 1, score::of(1)), fixed("b", 0.5, score::of(0.5)), fixed("c", -2, score::of(0.25))});
  const rule_set_score s = set.evaluate({});
  CHECK(s.total.value == 0.75); // 1 + 0.25 - 0.5
  REQUIRE(s.by_rule.size() == 3);
  CHECK(s.by_rule[1].value == 0.5);
  CHECK(s.by_rule[2].value == 0.25);
}

TEST_CASE("rule_set: one rule that gives no value leaves no total; an error outranks an invalid row") {
  const rule_set invalid({fixed("a", 1, score::of(1)), fixed("b", 1, score::invalid("no answer"))});
  CHECK(invalid.evaluate({}).total.status == score_status::invalid);
  CHECK(invalid.evaluate({}).total.value == 0);
  CHECK(invalid.evaluate({}).total.reason == "b: no answer");
  CHECK(invalid.evaluate({}).by_rule[0].value == 1);
  for (const bool error_first : {false, true}) {
    std::vector<weighted_rule> rules{fixed("i", 1, score::invalid("x")), fixed("e", 1, score::error("limit"))};
    if (error_first)
      std::swap(rules[0], rules[1]);
    const score total = rule_set(std::move(rules)).evaluate({}).total;
    CHECK(total.status == score_status::error);
    CHECK(total.reason == "e: limit");
  }
}

TEST_CASE("rule_set: says before any answer is made that no answer to a row can be scored, and why") {
  const auto set_of = [](std::vector<std::string> types) {
    std::vector<weighted_rule> rules;
    for (auto& type : types)
      rules.push_back(
          {type, 1, make_rule(type, type == "length" ? option_values{{"max", std::int64_t{3}}} : option_values{})});
    return rule_set(std::move(rules));
  };
  CHECK(set_of({"length", "number"}).unreadable("12 cm", "").empty());
  CHECK(set_of({"length", "number"}).unreadable("blue", "") == "number: the row's answer is no number: 'blue'");
  CHECK(set_of({"exact", "number"}).unreadable("", "") == "exact: the row has no answer");
  CHECK(set_of({"exact"}).unreadable("blue", "").empty());
  CHECK(set_of({"length"}).unreadable("", "").empty());
}

TEST_CASE(
    "rule_set: a rule is asked only for rows of its data sources, and a row that no rule is for is named before") {
  auto mine = fixed("a", 1, score::of(1));
  mine.data_sources = {"sums", "gsm8k"};
  auto broken = fixed("b", 1, score::error("never to be asked"));
  broken.data_sources = {"code"};
  const rule_set set({mine, broken});
  const row_context sums{.data_source = "sums"}, code{.data_source = "code"}, other{.data_source = "poems"};
  const std::vector<rule_input> inputs{{.row = &sums}, {.row = &code}, {.row = &other}, {}};
  const auto found = set.evaluate_group(inputs);
  CHECK(found[0].total.value == 1);
  CHECK(found[0].by_rule[1].status == score_status::not_applicable);
  CHECK(found[1].total.status == score_status::error);
  CHECK(found[2].total.status == score_status::not_applicable);
  CHECK(found[3].total.status == score_status::not_applicable);
  CHECK(set.unreadable("1", "gsm8k").empty());
  CHECK(set.unreadable("1", "poems") == "no rule is for its data_source \"poems\"");

  weighted_rule number{"number", 1, make_rule("number", {}), {"sums"}};
  const rule_set both({number, fixed("rest", 1, score::of(0))});
  CHECK(both.unreadable("blue", "sums").starts_with("number: "));
  CHECK(both.unreadable("blue", "poems").empty()); // the rule that cannot read it is not asked
}

TEST_CASE("rule_set: refuses no rules, two of one name, a weight that is not finite") {
  CHECK_THROWS_AS(rule_set({}), input_error);
  CHECK_THROWS_AS(rule_set({fixed("a", 1, score::of(1)), fixed("a", 1, score::of(1))}), input_error);
  CHECK_THROWS_AS(rule_set({fixed("a", std::numeric_limits<double>::infinity(), score::of(1))}), input_error);
}

} // namespace rule_set_test
