#include "runtime/workers/worker_pool.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace worker_pool_test {

using namespace millrace;
using namespace millrace::workers;
using steady = std::chrono::steady_clock;

namespace {

constexpr std::chrono::seconds patience{10};

worker_command shell(const std::string& script) {
  return {.arguments = {"/bin/sh", "-c", script}, .frames = framing::line};
}

std::string echoed(worker_pool& pool, const std::string& word, std::chrono::milliseconds deadline = patience) {
  return pool.ask([&](worker_process& process) {
    const auto until = steady::now() + deadline;
    process.send(word, until);
    return process.receive(until);
  });
}

} // namespace

TEST_CASE("a process answers many questions, and a dead one is replaced") {
  worker_pool pool(shell("while read line; do [ \"$line\" = die ] && exit 1; echo $$; done"), 1, {}, patience);
  const auto first = echoed(pool, "x");
  CHECK(echoed(pool, "x") == first);
  CHECK_THROWS_AS(echoed(pool, "die"), worker_failure);
  CHECK(echoed(pool, "x") != first);
}

TEST_CASE("a process that hangs is killed, and the next question goes to another") {
  worker_pool pool(shell("while read line; do [ \"$line\" = hang ] && sleep 1000; echo done; done"), 1, {}, patience);
  CHECK_THROWS_AS(echoed(pool, "hang", std::chrono::milliseconds(30)), worker_failure);
  CHECK(echoed(pool, "x") == "done");
}

TEST_CASE("a pool that is closed ends what is asked of it, while processes start as well, and is asked no more") {
  const auto silent = [](std::string_view) { return std::string(); };
  worker_pool answering(shell("read line; sleep 1000"), 1, {}, patience),
      starting(shell("sleep 1000"), 1, silent, patience);
  for (auto* pool : {&answering, &starting}) {
    std::atomic<bool> talks = false;
    std::string why;
    std::thread asks([&] {
      try {
        pool->ask([&](worker_process& process) {
          process.send("x", steady::now() + patience);
          talks = true;
          return process.receive(steady::now() + patience);
        });
      } catch (const worker_failure& failure) {
        why = failure.what();
      }
    });
    while (pool == &answering && !talks)
      std::this_thread::yield();
    std::thread waits([&] { CHECK_THROWS_AS(echoed(*pool, "y"), worker_failure); }); // all processes are busy
    const auto before = steady::now();
    pool->close();
    asks.join();
    waits.join();
    CHECK(steady::now() - before < patience / 2);
    CHECK(!why.empty());
    CHECK_THROWS_WITH_AS(echoed(*pool, "z"), "its processes were ended", worker_failure);
  }
}

TEST_CASE("a process that greets with a complaint is refused") {
  const auto complain = [](std::string_view message) { return std::string(message); };
  worker_pool pool(shell("echo 'no such function'; cat"), 1, complain, patience);
  try {
    echoed(pool, "x");
    FAIL("was not refused");
  } catch (const worker_failure& failure) {
    CHECK(failure.kind == failure_kind::refused);
    CHECK(std::string(failure.what()) == "no such function");
  }
}

TEST_CASE("threads share the processes, and never more than the pool's number run") {
  worker_pool pool(shell("while read line; do echo $$ $line; done"), 2, {}, patience);
  std::vector<std::set<std::string>> processes(4);
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < processes.size(); ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 50; ++i) {
        const auto word = std::to_string(t) + "." + std::to_string(i);
        const auto reply = echoed(pool, word);
        wrong += !reply.ends_with(' ' + word);
        processes[t].insert(reply.substr(0, reply.find(' ')));
      }
    });
  for (auto& thread : threads)
    thread.join();
  CHECK(wrong == 0);
  std::set<std::string> all;
  for (const auto& some : processes)
    all.insert(some.begin(), some.end());
  CHECK(all.size() <= 2);
}

} // namespace worker_pool_test
