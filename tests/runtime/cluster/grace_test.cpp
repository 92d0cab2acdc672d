#include "runtime/cluster/grace.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>

namespace grace_test {

TEST_CASE("a process that hangs ends after its grace, with the status that it was to have") {
  const auto start = std::chrono::steady_clock::now();
  const pid_t child = fork();
  if (child == 0) {
    millrace::cluster::end_within(std::chrono::milliseconds(50), 7);
    for (;;)
      pause();
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 7);
  CHECK(std::chrono::steady_clock::now() - start >= std::chrono::milliseconds(50));
}

TEST_CASE("what hangs within a grace period ends the process; what does not, lets it go on") {
  for (const bool hangs : {true, false}) {
    const pid_t child = fork();
    if (child == 0) {
      {
        millrace::cluster::grace_period grace;
        grace.begin(std::chrono::milliseconds(50), 7);
        while (hangs)
          pause();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(150)); // longer than the grace that is over
      _exit(0);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    CHECK(WEXITSTATUS(status) == (hangs ? 7 : 0));
  }
}

} // namespace grace_test
