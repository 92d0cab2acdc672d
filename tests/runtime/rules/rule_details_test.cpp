#include "runtime/rules/rule.hpp"
#include "runtime/rules/rule_details.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>
#include <vector>

namespace rule_details_test {

using namespace millrace;
using rules::rule_details;

namespace {

rules::rule_set rules_named(const std::vector<std::string>& names) {
  std::vector<rules::weighted_rule> list;
  for (const auto& name : names)
    list.push_back({name, 1, rules::make_rule("exact", {})});
  return rules::rule_set(std::move(list));
}

/// One answer, with what each rule says beside its score.
rules::rule_set_score saying(const std::vector<std::map<std::string, double>>& said) {
  rules::rule_set_score score;
  for (const auto& metrics : said)
    score.by_rule.push_back({.value = 1, .metrics = metrics});
  return score;
}

} // namespace

TEST_CASE("what rules say beside their scores is summed by rule and key, over the answers that have it") {
  rule_details details;
  std::map<std::string, summed> summary;
  const std::vector<rules::rule_set_score> scores{saying({{{"length", 4}, {"acc", 1}}, {{"length", 7}}}),
                                                  saying({{{"length", 2}}, {}}), saying({{{"length", 100}}, {}})};
  details.add(rules_named({"mine", "other"}), scores, 2, summary); // the third is a baseline
  CHECK(summary
        == std::map<std::string, summed>{
            {"rule/mine/length", {6, 2}}, {"rule/mine/acc", {1, 1}}, {"rule/other/length", {7, 1}}});
}

TEST_CASE("keys become names that a chart can have, and only so many of a rule are kept") {
  CHECK(rule_details::name_of("pass@1.a-b_c+") == "pass@1.a-b_c+");
  CHECK(rule_details::name_of("a b/\n\"\xc3\xa4") == "a_b_____");
  CHECK(rule_details::name_of("") == "_");
  CHECK(rule_details::name_of(std::string(1000, 'x')).size() == rule_details::longest_key);
  rule_details details;
  std::map<std::string, summed> summary;
  std::vector<std::string> lines;
  for (int i = 0; i < 1000; ++i)
    if (const auto line =
            details.add(rules_named({"mine"}), std::vector{saying({{{"key" + std::to_string(i), 1}}})}, 1, summary);
        !line.empty())
      lines.push_back(line);
  CHECK(
      lines
      == std::vector<std::string>{"mine gives more than 32 keys beside its score; the first ones are figures, others, "
                                  "such as key32, are left out"});
  CHECK(summary.size() == rule_details::most_keys);
  CHECK(summary.contains("rule/mine/key0"));
  details.add(rules_named({"mine"}), std::vector{saying({{{"key0", 1}}})}, 1, summary);
  CHECK(summary.at("rule/mine/key0") == summed{2, 2});
}

} // namespace rule_details_test
