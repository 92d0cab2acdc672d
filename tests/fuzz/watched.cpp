#include "tests/fuzz/watched.hpp"

#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstring>
#include <ctime>
#include <fstream>
#include <mutex>
#include <utility>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MILLRACE_FUZZ_SANITIZED 1
#endif

namespace millrace::fuzz {
namespace {

#ifdef MILLRACE_FUZZ_SANITIZED
constexpr double most_cpu_s = 30; // a sanitizer is that much slower, and takes the address space for itself
constexpr bool bounds_memory = false;
#else
constexpr double most_cpu_s = 2;
constexpr bool bounds_memory = true;
#endif
constexpr double most_wall_s = 30;
constexpr rlim_t most_memory = 1 << 30;
constexpr std::array fatal{SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT};

/// What is read now. Plain bytes: a handler of a signal reads them.
struct state {
  std::mutex lock;
  std::array<char, 512> line{}; ///< names the input; empty: none
  clockid_t clock = CLOCK_MONOTONIC;
  double cpu_begin_s = 0, wall_begin_s = 0, slowest_s = 0;
};

state& now() {
  static state one;
  return one;
}

double seconds_on(clockid_t clock) {
  timespec time{};
  ::clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void say(const char* text) {
  [[maybe_unused]] const auto written = ::write(STDERR_FILENO, text, std::strlen(text));
}

extern "C" void name_input_and_die(int signal_number) {
  say("\nfuzz: crashes: ");
  say(now().line.data());
  say("\n");
  std::signal(signal_number, SIG_DFL);
  std::raise(signal_number);
}

rlim_t address_space_bytes() {
  std::ifstream file("/proc/self/statm");
  rlim_t pages = 0;
  file >> pages;
  return pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE));
}

} // namespace

std::string named(const std::string& reader, std::uint64_t number) {
  const auto n = std::to_string(number);
  return "reader '" + reader + "', input " + n + " (again: MILLRACE_FUZZ_READER='" + reader
         + "' MILLRACE_FUZZ_FIRST=" + n + " MILLRACE_FUZZ_INPUTS=1 test_fuzz)";
}

watched::watched(const std::string& reader, std::uint64_t number) {
  const auto line = named(reader, number);
  const std::lock_guard lock(now().lock);
  std::strncpy(now().line.data(), line.c_str(), now().line.size() - 1);
  now().cpu_begin_s = seconds_on(now().clock);
  now().wall_begin_s = seconds_on(CLOCK_MONOTONIC);
}

watched::~watched() {
  const std::lock_guard lock(now().lock);
  now().slowest_s = std::max(now().slowest_s, seconds_on(now().clock) - now().cpu_begin_s);
  now().line[0] = '\0';
}

double watched::slowest_ms() {
  const std::lock_guard lock(now().lock);
  return 1000 * std::exchange(now().slowest_s, 0);
}

watchdog::watchdog() {
  ::pthread_getcpuclockid(::pthread_self(), &now().clock);
  for (const int number : fatal)
    std::signal(number, name_input_and_die);
  looks_ = std::thread([this] {
    while (!ends_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50)); // how often it looks, nothing waits for it
      const std::lock_guard lock(now().lock);
      const bool slow = seconds_on(now().clock) - now().cpu_begin_s > most_cpu_s
                        || seconds_on(CLOCK_MONOTONIC) - now().wall_begin_s > most_wall_s;
      if (now().line[0] == '\0' || !slow)
        continue;
      say("\nfuzz: takes too long: ");
      say(now().line.data());
      say("\n");
      ::_exit(1);
    }
  });
  ::getrlimit(RLIMIT_AS, &memory_before_);
  if (!bounds_memory)
    return;
  ::mallopt(M_ARENA_MAX, 1); // an arena a thread would take address space that nobody uses
  auto bounded = memory_before_;
  bounded.rlim_cur = address_space_bytes() + most_memory;
  ::setrlimit(RLIMIT_AS, &bounded);
}

watchdog::~watchdog() {
  ::setrlimit(RLIMIT_AS, &memory_before_);
  for (const int number : fatal)
    std::signal(number, SIG_DFL);
  ends_ = true;
  looks_.join();
}

} // namespace millrace::fuzz
