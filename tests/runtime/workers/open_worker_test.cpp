#include "runtime/workers/open_worker.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace open_worker_test {

using namespace millrace;
using namespace millrace::workers;

namespace {

/// Reads lines "ID WORDS" and answers with what the shell script prints.
worker_command shell(const std::string& script) {
  return {.arguments = {"/bin/sh", "-c", script}, .frames = framing::line};
}

std::uint64_t id_of(const std::string& message) {
  try {
    return std::stoull(message);
  } catch (const std::exception&) {
    throw worker_failure(failure_kind::malformed, "found " + message);
  }
}

std::future<std::string> asked(open_worker& worker, const std::string& words,
                               std::chrono::milliseconds deadline = std::chrono::seconds(20)) {
  const auto promised = std::make_shared<std::promise<std::string>>();
  worker.ask([&](std::uint64_t id) { return std::to_string(id) + " " + words; }, deadline,
             [promised](const std::string& message, const std::string& error) {
               promised->set_value(error.empty() ? message : "error: " + error);
             });
  return promised->get_future();
}

} // namespace

TEST_CASE("an open worker answers many questions in the order that it likes") {
  std::atomic<int> gone = 0;
  open_worker worker(
      shell("read a; read b; read c; echo \"$c\"; echo \"$a\"; echo \"$b\"; read d; echo \"$d\"; read e"), nullptr,
      id_of, std::chrono::seconds(20), [&] { ++gone; });
  auto a = asked(worker, "a"), b = asked(worker, "b"), c = asked(worker, "c");
  CHECK(c.get() == "3 c");
  CHECK(a.get() == "1 a");
  CHECK(b.get() == "2 b");
  CHECK(asked(worker, "d").get() == "4 d");
  CHECK(gone == 0);
}

TEST_CASE("an open worker's death fails what is open, and the next question gets a new process") {
  std::atomic<int> gone = 0;
  open_worker worker(shell("read a; read b; case \"$b\" in *die) exit 7;; esac; echo \"$b\"; echo \"$a\"; read e"),
                     nullptr, id_of, std::chrono::seconds(20), [&] { ++gone; });
  auto a = asked(worker, "a"), b = asked(worker, "die");
  CHECK(a.get() == "error: the process ended with exit status 7");
  CHECK(b.get() == "error: the process ended with exit status 7");
  CHECK(gone == 1);
  auto c = asked(worker, "c"), d = asked(worker, "d");
  CHECK(c.get() == "3 c");
  CHECK(d.get() == "4 d");
}

TEST_CASE("an open worker that lets a deadline pass is killed, one that says nonsense too") {
  open_worker silent(shell("while read a; do :; done"), nullptr, id_of, std::chrono::seconds(20), [] {});
  CHECK(asked(silent, "a", std::chrono::milliseconds(200)).get() == "error: no reply before the deadline");
  open_worker nonsense(shell("read a; echo what"), nullptr, id_of, std::chrono::seconds(20), [] {});
  CHECK(asked(nonsense, "a").get() == "error: found what");
}

TEST_CASE("an open worker that greets is asked when it is ready, and its refusal is told") {
  const auto greet = [](const std::string& said) { return said == "ready" ? "" : said; };
  open_worker good(shell("echo ready; while read a; do echo \"$a\"; done"), greet, id_of, std::chrono::seconds(20),
                   [] {});
  auto early = asked(good, "early");
  CHECK(good.start() == "");
  CHECK(early.get() == "1 early");
  open_worker bad(shell("echo no licence; read a"), greet, id_of, std::chrono::seconds(20), [] {});
  CHECK(bad.start() == "no licence");
  CHECK(asked(bad, "x").get() == "error: no licence");
}

TEST_CASE("an open worker that does not come up does not hold up its end") {
  const auto begin = std::chrono::steady_clock::now();
  {
    open_worker never(
        shell("read a; read b"), [](const std::string&) { return ""; }, id_of, std::chrono::hours(1), [] {});
    never.ask([](std::uint64_t) { return "x"; }, std::chrono::hours(1), [](const auto&, const auto&) {});
  }
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(20));
}

} // namespace open_worker_test
