#include "runtime/rules/verifier_pool.hpp"
#include "runtime/rules/worker_rule.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <stdexcept>
#include <thread>

namespace verifier_pool_test {

using namespace millrace;
using namespace millrace::rules;
using namespace std::chrono_literals;

namespace {

constexpr auto generous = 60'000ms; // a deadline that no test reaches

/// Scores the number of tokens; "throw" throws; "block" waits until `release`.
class steered_rule final : public rule {
public:
  score evaluate(const rule_input& input) const override {
    if (input.text == "throw")
      throw std::runtime_error("broken");
    if (input.text == "block") {
      std::unique_lock hold(lock_);
      blocks_ = true;
      changed_.notify_all();
      changed_.wait(hold, [&] { return released_; });
    }
    return score::of(static_cast<double>(input.tokens));
  }

  void release() {
    const std::lock_guard hold(lock_);
    released_ = true;
    changed_.notify_all();
  }

  /// Returns once an answer is being scored that says "block".
  void wait_until_it_blocks() {
    std::unique_lock hold(lock_);
    changed_.wait(hold, [&] { return blocks_; });
  }

private:
  mutable std::mutex lock_;
  mutable std::condition_variable changed_;
  mutable bool blocks_ = false;
  bool released_ = false;
};

struct pool_of_one_rule {
  std::shared_ptr<steered_rule> steered = std::make_shared<steered_rule>();
  verifier_pool pool;

  explicit pool_of_one_rule(std::size_t threads)
      : pool(std::make_shared<const rule_set>(std::vector<weighted_rule>{{"steered", 1, steered}}), threads) {}

  std::future<std::vector<rule_set_score>> submit(std::vector<verifier_row> rows, std::chrono::milliseconds deadline) {
    auto answer = std::make_shared<std::promise<std::vector<rule_set_score>>>();
    pool.submit(std::move(rows), deadline,
                [answer](std::vector<rule_set_score> s) { answer->set_value(std::move(s)); });
    return answer->get_future();
  }
};

} // namespace

TEST_CASE("verifier_pool: every call is answered once, its scores in the order of its rows") { // VP-1
  pool_of_one_rule one(3);
  std::vector<std::future<std::vector<rule_set_score>>> answers;
  for (std::int64_t call = 0; call < 50; ++call) {
    std::vector<verifier_row> rows;
    for (std::int64_t row = 0; row < 20; ++row)
      rows.push_back({"", "", 100 * call + row, false});
    answers.push_back(one.submit(std::move(rows), generous));
  }
  for (std::size_t call = 0; call < answers.size(); ++call) {
    const auto scores = answers[call].get();
    REQUIRE(scores.size() == 20);
    for (std::size_t row = 0; row < scores.size(); ++row)
      CHECK(scores[row].total.value == static_cast<double>(100 * call + row));
  }
  CHECK(one.submit({}, generous).get().empty());
}

TEST_CASE("verifier_pool: a row past its deadline is an error and holds up no other, even with one thread") { // VP-2
  pool_of_one_rule one(1);
  const auto late = one.submit({{"block", "", 1, false}, {"", "", 7, false}}, 1ms).get();
  REQUIRE(late.size() == 2);
  CHECK(late[0].total.status == score_status::error);
  CHECK(late[0].total.reason == "scoring took more than 1 ms");
  REQUIRE(late[0].by_rule.size() == 1);
  CHECK(late[0].by_rule[0].status == score_status::error);
  const auto next = one.submit({{"", "", 8, false}}, generous).get();
  CHECK(next[0].total.value == 8);
  one.steered->release();
}

TEST_CASE("verifier_pool: a rule that throws is an error of its row") {
  pool_of_one_rule one(1);
  const auto scores = one.submit({{"throw", "", 1, false}, {"", "", 2, false}}, generous).get();
  CHECK(scores[0].total.status == score_status::error);
  CHECK(scores[0].total.reason == "steered: broken");
  CHECK(scores[1].total.value == 2);
}

TEST_CASE("verifier_pool: closing it answers what is open and waits for the rule that runs") { // VP-3
  auto one = std::make_unique<pool_of_one_rule>(1);
  const auto steered = one->steered;
  std::atomic<int> answers = 0;
  auto open = one->submit({{"block", "", 1, false}, {"", "", 2, false}}, generous);
  steered->wait_until_it_blocks();
  std::thread closing([&] {
    one.reset();
    ++answers;
  });
  const auto scores = open.get();
  CHECK(answers == 0);
  steered->release();
  closing.join();
  CHECK(answers == 1);
  CHECK(scores[0].total.reason == "the verifier pool was closed");
  CHECK(scores[1].total.status == score_status::error);
}

TEST_CASE("verifier_pool: closing it does not wait for somebody outside who has not answered") { // VP-3
  const auto rule = std::make_shared<worker_rule>(worker_settings{
      .command = {.arguments = {"/bin/sh", "-c", "read line; sleep 1000"}, .frames = workers::framing::line},
      .form = question_form::row,
      .deadline = 900s,
      .retries = 3});
  std::promise<std::vector<rule_set_score>> open;
  const auto before = std::chrono::steady_clock::now();
  {
    verifier_pool pool(std::make_shared<rule_set>(std::vector<weighted_rule>{{.name = "asks", .scorer = rule}}), 1);
    pool.submit({{"", "", 1, false}}, 900s,
                [&](std::vector<rule_set_score> scores) { open.set_value(std::move(scores)); });
  }
  CHECK(open.get_future().get().at(0).total.reason == "the verifier pool was closed");
  CHECK(std::chrono::steady_clock::now() - before < 10s);
  CHECK(rule->evaluate({}).reason == "its processes were ended");
}

TEST_CASE("verifier_pool: refuses no threads and no deadline") {
  CHECK_THROWS_AS(pool_of_one_rule(0), std::invalid_argument);
  pool_of_one_rule one(1);
  CHECK_THROWS_AS(one.submit({{"", "", 1, false}}, 0ms), std::invalid_argument);
}

} // namespace verifier_pool_test
