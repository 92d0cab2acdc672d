#include "runtime/rules/rule.hpp"
#include "runtime/rules/rule_set.hpp"
#include "runtime/words/enum_words.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/temporary_folder.hpp"
#include "tests/support/web_server.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <atomic>
#include <chrono>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

namespace http_test {

using namespace millrace;
using namespace millrace::rules;
using nlohmann::json;
using tests::test_reply;
using tests::test_request;
using tests::test_server;

namespace {

std::unique_ptr<rule> made(const test_server& server, option_values more = {}) {
  more.emplace("url", server.url());
  more.emplace("backoff_ms", std::int64_t{0});
  return make_rule("http", more);
}

/// "0.5", "not applicable" or "kind: reason".
std::string words(const score& s) {
  if (s.status == score_status::not_applicable)
    return "not applicable";
  return s.status == score_status::value ? std::to_string(s.value).substr(0, 3) : word(s.kind) + ": " + s.reason;
}

const row_context row{.prompt = {{"system", "Add."}, {"user", "2 + 2?"}},
                      .data_source = "sums",
                      .extra_info = R"({"index": 7})",
                      .ground_truth = "4"};
const std::vector<rule_input> two{{.text = "four", .answer = "4", .row = &row},
                                  {.text = "4", .answer = "4", .truncated = true, .row = &row}};

/// What each of two answers gets where the server says this.
std::vector<std::string> found(const std::string& style, const std::string& body) {
  const test_server server([&](const test_request&) { return test_reply{.body = body}; });
  std::vector<std::string> lines;
  for (const auto& s : made(server, {{"style", style}})->evaluate_group(two))
    lines.push_back(words(s));
  return lines;
}

} // namespace

TEST_CASE("a rule that gives up does not wait for its next try") {
  test_server server([](const test_request&) { return test_reply{.status = 503}; });
  const auto rule =
      make_rule("http", {{"url", server.url()}, {"backoff_ms", std::int64_t{10'000}}, {"retries", std::int64_t{10}}});
  const auto before = std::chrono::steady_clock::now();
  std::string said;
  std::thread asks([&] { said = words(rule->evaluate(two[0])); });
  while (server.requests() == 0)
    std::this_thread::yield();
  rule->give_up();
  asks.join();
  CHECK(!said.empty());
  CHECK(server.requests() == 1);
  CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(5));
}

TEST_CASE("openrlhf: one request has query, prompts and labels of a group, and the answer its rewards") {
  json seen;
  const test_server server([&](const test_request& r) {
    seen = json::parse(r.body);
    return test_reply{
        .body = R"({"rewards": [0.5, 1], "scores": [0.5, 1], "extra_logs": {"length": [4, 1], "word": ["a", "b"]}})"};
  });
  const auto rule = made(server, {{"style", std::string("openrlhf")}});
  CHECK(rule->wants_groups());
  const auto scores = rule->evaluate_group(two);
  CHECK(seen
        == json{{"query", {"Add.\n2 + 2?four", "Add.\n2 + 2?4"}},
                {"prompts", {"Add.\n2 + 2?", "Add.\n2 + 2?"}},
                {"labels", {4, 4}}});
  CHECK(words(scores[0]) == "0.5");
  CHECK(words(scores[1]) == "1.0");
  CHECK(scores[0].metrics == std::map<std::string, double>{{"length", 4.0}});
  CHECK(server.requests() == 1);
}

TEST_CASE("openrlhf: what is no list of rewards is a failure, of one answer where it can be") {
  using lines = std::vector<std::string>;
  CHECK(found("openrlhf", R"({"rewards": [1, null]})")
        == lines{"1.0", "malformed: rewards: found null, want a number"});
  CHECK(found("openrlhf", R"({"rewards": [1, "2"]})") == lines{"1.0", "malformed: rewards: found 2, want a number"});
  for (const auto& [body, line] : std::vector<std::pair<std::string, std::string>>{
           {R"({"rewards": [1]})", "rewards: want a list of 2, found one of 1"},
           {R"({"rewards": [1, 2, 3]})", "rewards: want a list of 2, found one of 3"},
           {R"({"rewards": 1})", "rewards: want a list of 2, found number"},
           {R"({"reward": [1, 2]})", "a reply without \"rewards\""},
           {"[1, 2]", "a reply without \"rewards\""},
           {"", "an answer that is no JSON: "},
           {"{\"rewards\": [1, 2]", "an answer that is no JSON: {\"rewards\": [1, 2]"},
           {R"({"rewards": [1, NaN]})", "an answer that is no JSON: {\"rewards\": [1, NaN]}"},
           {"<html>", "an answer that is no JSON: <html>"},
           {std::string(100000, '['), "a reply of more than 64 levels"}})
    CHECK(found("openrlhf", body) == lines{"malformed: " + line, "malformed: " + line});
  const test_server server([](const test_request&) { return test_reply{.body = R"({"rewards": 0.5})"}; });
  CHECK(words(made(server, {{"style", std::string("openrlhf")}})->evaluate(two[0])) == "0.5"); // one answer, one number
}

TEST_CASE("json: a list of the objects that a program gets, and a list of results back") {
  json seen;
  const test_server server([&](const test_request& r) {
    seen = json::parse(r.body);
    return test_reply{.body = R"([{"score": null}, {"score": 0.5, "metrics": {"length": 1}}])"};
  });
  const auto scores = made(server)->evaluate_group(two);
  const json first{{"data_source", "sums"},
                   {"prompt", {{{"role", "system"}, {"content", "Add."}}, {{"role", "user"}, {"content", "2 + 2?"}}}},
                   {"completion", "four"},
                   {"ground_truth", 4},
                   {"extra_info", {{"index", 7}}},
                   {"finish_reason", "stop"}};
  CHECK(seen.at(0) == first);
  CHECK(seen.at(1).at("finish_reason") == "length");
  CHECK(words(scores[0]) == "not applicable");
  CHECK(words(scores[1]) == "0.5");
  CHECK(scores[1].metrics.at("length") == 1);
  using lines = std::vector<std::string>;
  CHECK(found("json", R"([{"score": 1}, {"failure": "timeout", "reason": "the judge slept"}])")
        == lines{"1.0", "timeout: the judge slept"});
  CHECK(found("json", R"([{"score": 1}, {"points": 1}])") == lines{"1.0", "malformed: a result without \"score\""});
  CHECK(found("json", R"([{"score": 1}])")[1] == "malformed: want a list of 2 results, found one of 1");
  CHECK(found("json", R"({"score": 1})")[0] == "malformed: want a list of 2 results, found object");
}

TEST_CASE("a server that fails is asked again, then it is a failure of its kind, and the next group is scored") {
  std::atomic<int> broken = 0;
  test_reply trouble;
  const test_server server([&](const test_request&) {
    return broken-- > 0 ? trouble : test_reply{.body = R"([{"score": 1}, {"score": 1}])"};
  });
  const auto rule = made(server, {{"retries", std::int64_t{2}}, {"deadline_ms", std::int64_t{300}}});
  const auto after = [&](int times, test_reply what) {
    trouble = std::move(what);
    broken = times;
    const auto line = words(rule->evaluate_group(two)[1]);
    broken = 0;
    CHECK(words(rule->evaluate_group(two)[0]) == "1.0");
    return line;
  };
  CHECK(after(2, {.status = 500}) == "1.0");
  CHECK(after(3, {.status = 500}) == "crash: the server answered 500 Internal Server Error");
  CHECK(after(2, {.raw = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n["}) == "1.0");
  CHECK(after(3, {.raw = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n["}).starts_with("malformed: half an answer"));
  CHECK(after(1, {.hangs = true}) == "timeout: no score within 300 ms");
  CHECK(after(1, {.status = 404}) == "refused: the server answered 404 Not Found");
  CHECK(after(1, {.status = 307, .location = "http://127.0.0.1:1/"})
        == "refused: the server answered 307 Temporary Redirect, and redirects are not followed");
}

TEST_CASE("what stands in the pipeline is checked before anything is asked") {
  const tests::temporary_folder folder;
  CHECK_THROWS_AS(make_rule("http", {}), input_error);
  CHECK_THROWS_AS(make_rule("http", {{"url", std::string("ftp://x/")}}), input_error);
  CHECK_THROWS_AS(make_rule("http", {{"url", std::string("http://x/")}, {"style", std::string("verl")}}), input_error);
  tests::write_file(folder / "token", "t");
  std::filesystem::permissions(folder / "token", std::filesystem::perms::all);
  CHECK_THROWS_AS(make_rule("http", {{"url", std::string("http://x/")}, {"token_file", (folder / "token").string()}}),
                  input_error);
  const test_server server([](const test_request&) { return test_reply{}; });
  CHECK(made(server)->unusable().empty());
  CHECK(server.requests() == 0);
  CHECK(make_rule("http", {{"url", std::string("http://127.0.0.1:1/")}, {"backoff_ms", std::int64_t{0}}})->unusable()
        == "cannot connect to 127.0.0.1:1: Connection refused");
}

} // namespace http_test
