#include "runtime/roles/job_thread.hpp"
#include "tests/support/eventually.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <vector>

namespace job_thread_test {

using namespace millrace;
using namespace millrace::roles;

TEST_CASE("a job thread runs its jobs in order, and ends the one at hand when it closes") {
  tests::watched<std::vector<int>> done;
  {
    job_thread thread;
    for (int i = 0; i < 3; ++i)
      thread.post([&, i] { done.change([&](auto& all) { all.push_back(i); }); });
    CHECK(done.wait([](const auto& all) { return all.size() == 3; }));
    CHECK(done.get() == std::vector<int>{0, 1, 2});
    tests::watched<bool> begun;
    thread.post([&] {
      begun.change([](bool& x) { x = true; });
      done.change([](auto& all) { all.push_back(3); });
    });
    CHECK(begun.wait([](bool x) { return x; }));
  }
  CHECK(done.get() == std::vector<int>{0, 1, 2, 3});
}

TEST_CASE("a job may be what destroys its thread") {
  tests::watched<bool> ended;
  auto thread = std::make_shared<job_thread>();
  thread->post([last = thread, &ended]() mutable {
    last.reset();
    ended.change([](bool& x) { x = true; });
  });
  thread.reset();
  CHECK(ended.wait([](bool x) { return x; }));
}

} // namespace job_thread_test
