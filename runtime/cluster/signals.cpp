#include "runtime/cluster/signals.hpp"

#include <csignal>
#include <cstring>
#include <ctime>

namespace millrace::cluster {
namespace {

sigset_t watched() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGINT);
  sigaddset(&set, SIGTERM);
  return set;
}

} // namespace

stop_signals::stop_signals(std::function<void(const char*, int)> on_stop) {
  const auto set = watched();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::jthread([set, on_stop = std::move(on_stop)](const std::stop_token& ending) {
    int count = 0;
    const timespec patience{0, 100'000'000};
    while (!ending.stop_requested())
      if (const int number = sigtimedwait(&set, nullptr, &patience); number > 0)
        on_stop(number == SIGINT ? "Ctrl-C" : "SIGTERM", ++count);
  });
}

stop_signals::~stop_signals() {
  thread_.request_stop();
  thread_.join();
  const auto set = watched();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

} // namespace millrace::cluster
