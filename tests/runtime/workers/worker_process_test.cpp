#include "runtime/words/enum_words.hpp"
#include "runtime/workers/worker_process.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <csignal>
#include <string>
#include <thread>

namespace worker_process_test {

using namespace millrace;
using namespace millrace::workers;
using steady = std::chrono::steady_clock;

namespace {

steady::time_point soon() {
  return steady::now() + std::chrono::seconds(10);
}

worker_command shell(const std::string& script, framing frames = framing::line) {
  return {.arguments = {"/bin/sh", "-c", script}, .frames = frames};
}

/// How a question to the script ends, "kind: line".
std::string failure_of(const worker_command& command, std::chrono::milliseconds patience = std::chrono::seconds(10)) {
  try {
    worker_process process(command);
    process.receive(steady::now() + patience);
  } catch (const worker_failure& failure) {
    return word(failure.kind) + ": " + failure.what();
  }
  return {};
}

} // namespace

TEST_CASE("a process answers lines one after another") {
  worker_process process(shell("while read line; do echo \"got $line\"; done"));
  for (const std::string word : {"a", "b", "c"}) {
    process.send(word, soon());
    CHECK(process.receive(soon()) == "got " + word);
  }
}

TEST_CASE("a frame is four bytes of length, least first, and so many bytes") {
  worker_process process(
      shell("head -c 7 <&3 >/dev/null; printf '\\003\\000\\000\\000xyz' >&3; sleep 60", framing::length));
  process.send("abc", soon());
  CHECK(process.receive(soon()) == "xyz");
}

TEST_CASE("a message of megabytes passes, also while the process writes") {
  worker_process process(shell("cat"));
  const std::string message(300000, 'm');
  process.send(message, soon());
  CHECK(process.receive(soon()) == message);
}

TEST_CASE("how a process ends is the failure's kind and line") {
  CHECK(failure_of(shell("exit 3")) == "crash: the process ended with exit status 3");
  CHECK(failure_of(shell("kill -9 $$")) == "crash: the process ended by signal 9 (Killed)");
  CHECK(failure_of({.arguments = {"/no/such/program"}}) == "refused: the program cannot be started (exit status 127)");
  CHECK(failure_of(shell("sleep 60"), std::chrono::milliseconds(20)) == "timeout: no reply before the deadline");
  CHECK(failure_of(shell("printf '\\377\\377\\377\\377' >&3; sleep 60", framing::length)).starts_with("malformed: "));
}

TEST_CASE("a signal that the process above ignores ends what a worker starts all the same") {
  for (const int number : {SIGPIPE, SIGTERM, SIGUSR1}) {
    CAPTURE(number);
    const auto before = std::signal(number, SIG_IGN);
    CHECK(failure_of(shell("kill -" + std::to_string(number) + " $$; sleep 60"))
              .starts_with("crash: the process ended by signal " + std::to_string(number)));
    std::signal(number, before);
  }
}

TEST_CASE("what a process has forked dies with it") {
  pid_t forked = 0;
  {
    worker_process process(shell("sleep 1000 & echo $!; wait"));
    forked = std::stoi(process.receive(soon()));
    CHECK(kill(forked, 0) == 0);
  }
  // Its parent is gone, so another process reaps it: until then it is there, but dead.
  const auto until = soon();
  while (kill(forked, 0) == 0 && steady::now() < until)
    std::this_thread::yield();
  CHECK(kill(forked, 0) != 0);
}

} // namespace worker_process_test
