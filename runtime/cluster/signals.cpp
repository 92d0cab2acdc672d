#include "runtime/cluster/signals.hpp"

#include <csignal>
#include <ctime>
#include <initializer_list>
#include <utility>

namespace millrace::cluster {
namespace {

bool is_ignored(int number) {
  struct sigaction now {};

  return sigaction(number, nullptr, &now) == 0 && now.sa_handler == SIG_IGN;
}

sigset_t watched() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGUSR1})
    sigaddset(&set, number);
  for (const int number : {SIGINT, SIGHUP})
    if (!is_ignored(number))
      sigaddset(&set, number);
  return set;
}

const char* name_of(int number) {
  switch (number) {
  case SIGINT:
    return "Ctrl-C";
  case SIGHUP:
    return "SIGHUP";
  case SIGUSR1:
    return "SIGUSR1";
  default:
    return "SIGTERM";
  }
}

} // namespace

stop_signals::stop_signals(std::function<void(const char*, int)> on_stop) {
  const auto set = watched();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  thread_ = std::jthread([set, on_stop = std::move(on_stop)](const std::stop_token& ending) {
    int interrupts = 0;
    const timespec patience{0, 100'000'000};
    while (!ending.stop_requested())
      if (const int number = sigtimedwait(&set, nullptr, &patience); number > 0)
        on_stop(name_of(number), interrupts += number == SIGINT);
  });
}

stop_signals::~stop_signals() {
  thread_.request_stop();
  thread_.join();
  const auto set = watched();
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

void survive_refused_writes() {
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
}

void leave_stopping_to_others() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGUSR1})
    std::signal(number, SIG_IGN);
}

} // namespace millrace::cluster
