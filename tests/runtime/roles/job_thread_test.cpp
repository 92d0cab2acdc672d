#include "runtime/roles/job_thread.hpp"
#include "tests/support/eventually.hpp"

#include <doctest/doctest.h>

#include <atomic>
#include <future>
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

TEST_CASE("a weak poster reaches the thread while it lives, and never keeps it alive") {
  roles::job_thread::poster post;
  std::atomic<int> ran = 0;
  {
    roles::job_thread thread;
    post = thread.weak_poster();
    std::promise<void> done;
    post([&] {
      ++ran;
      done.set_value();
    });
    done.get_future().wait();
  } // joins here, although the poster is still there
  post([&] { ++ran; });
  CHECK(ran == 1);
}

} // namespace job_thread_test
