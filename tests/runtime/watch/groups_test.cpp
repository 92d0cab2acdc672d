#include "runtime/watch/groups.hpp"
#include "tests/runtime/watch/watched_example.hpp"

#include <doctest/doctest.h>

namespace groups_test {

using namespace millrace;
using namespace millrace::watch;
using namespace millrace::tests;

namespace {

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// A group of step 5 with one answer.
telemetry::trajectory group_with(telemetry::trajectory_answer answer) {
  telemetry::trajectory row;
  row.step = 5;
  row.answers = {std::move(answer)};
  return row;
}

std::string html_of(const shown_answer& shown, const std::string& text, std::int64_t tokens) {
  telemetry::trajectory_answer answer{text, tokens, 1, {}, "stop", 0, 4};
  answer.shown = shown;
  return group_in_html(telemetry::to_line(group_with(answer)));
}

} // namespace

TEST_CASE("a token has a colour for its log-probability, its ratio and its version") {
  const float none = std::numeric_limits<float>::quiet_NaN();
  const auto html = html_of({.text = {"1", "2", "3", "4"},
                             .logprob = {-0.05f, -2.0f, -4.0f, -1.0f},
                             .policy_logprob = {-0.05f, -1.5f, -4.5f, none},
                             .version = {4, 3, 1, 0}},
                            "1234", 4);
  CAPTURE(html);
  CHECK(has(html, "<i title=\"-0.05, ratio 1.000, version 4\">1</i>"));
  CHECK(has(html, "<i class=\"p3 r2 v1\" title=\"-2.00, ratio 1.649, version 3\">2</i>"));
  CHECK(has(html, "<i class=\"p4 r4 v3\" title=\"-4.00, ratio 0.607, version 1\">3</i>"));
  CHECK(has(html, "<i class=\"p2 v3\" title=\"-1.00, version 0\">4</i></pre>")); // nobody computed a ratio
}

TEST_CASE("the rest of an answer of which some tokens are shown follows without colours") {
  const shown_answer two{.text = {"ab", "<end>"}, .logprob = {0, 0}, .policy_logprob = {0, 0}, .version = {4, 4}};
  CHECK(has(html_of(two, "abcd<", 9), "<i title=\"0.00, ratio 1.000, version 4\">&lt;end&gt;</i>cd&lt;</pre>"));
  CHECK(has(html_of(two, "ab", 2), "&lt;end&gt;</i></pre>"));
}

TEST_CASE("what a model wrote is text, as a whole answer and in tokens") {
  const auto html = html_of({.text = {"<script>", "alert(1)", "\"><img src=x>"},
                             .logprob = {0, 0, 0},
                             .policy_logprob = {0, 0, 0},
                             .version = {4, 4, 4}},
                            "<script>alert(1)\"><img src=x>", 3);
  CHECK(has(html, ">&lt;script&gt;</i>"));
  for (const auto* tag : {"<script", "<img"})
    CHECK_FALSE(has(html, tag));
}

TEST_CASE("the newest groups are told once, those with tokens first") {
  run_view run;
  run.marked = {"{\"step\":2,\"group\":7}"};
  run.groups = {"{\"step\":2,\"group\":8}", "{\"step\":2,\"group\":7}", "{\"step\":1,\"group\":7}"};
  const auto html = groups_in_html(run);
  std::size_t told = 0;
  for (auto at = html.find("cannot be read"); at != std::string::npos; at = html.find("cannot be read", at + 1))
    ++told;
  CHECK(told == 3);
  CHECK(groups_in_html({}) == "<p>No group was trained yet.</p>\n");
}

TEST_CASE("each choice of colours has a button and a legend, and the style shows the chosen one alone") {
  const auto chooser = token_chooser(), style = token_style();
  for (const std::string id : {"by-logprob", "by-ratio", "by-version"}) {
    CHECK(has(chooser, "id=\"" + id + "\""));
    CHECK(has(chooser, "class=\"shades of-" + id + "\""));
    CHECK(has(style, "#" + id + ":checked ~ .of-" + id + " { display: block; }"));
    CHECK(has(style, "#" + id + ":checked ~ #groups ."));
  }
}

TEST_CASE("a row that is no group is said to be none") {
  CHECK(group_in_html("{\"step\": \"x\"}").starts_with("<p class=\"bad\">A group that cannot be read"));
  CHECK_FALSE(has(group_in_html("<script>"), "<script>"));
  const auto short_columns = html_of({.text = {"1"}, .logprob = {}, .policy_logprob = {}, .version = {}}, "1", 1);
  CHECK(has(short_columns, "A group that cannot be read"));
}

} // namespace groups_test
