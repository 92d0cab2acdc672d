// What the sandbox adds to python3's own start, over programs of which a third compute and the others do their worst:
// bench_sandbox [--count 200] [--slots 2]. Each program says what it reached, and is compared with what it may reach.
// Prints one JSON line: programs, escapes (0 is wanted), processes left over (0), milliseconds. A program's own time,
// from its start to its end, is not counted, but for those of kind "plain".
#include "runtime/sandbox/sandbox.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

using namespace millrace;
using steady = std::chrono::steady_clock;
using std::chrono::milliseconds;

struct program {
  std::string name, script;
  std::function<bool(const sandbox::outcome&)> held; ///< whether its bounds did
  milliseconds time{20000};
};

const sandbox::bounds most{.memory_bytes = std::int64_t{256} << 20,
                           .processes = 12,
                           .file_bytes = 4 << 20,
                           .disk_bytes = 8 << 20,
                           .output_bytes = 100000};

double ms_since(steady::time_point start) {
  return std::chrono::duration<double, std::milli>(steady::now() - start).count();
}

std::function<bool(const sandbox::outcome&)> says(const std::string& line) {
  return
      [line](const sandbox::outcome& found) { return found.hit == sandbox::bound::none && found.out == line + "\n"; };
}

std::function<bool(const sandbox::outcome&)> hits(sandbox::bound which) {
  return [which](const sandbox::outcome& found) { return found.hit == which; };
}

std::string tried(const std::string& action) {
  return "import os, signal, socket\ntry: print('reached', " + action
         + ")\nexcept Exception as error: print(type(error).__name__)";
}

std::vector<program> programs(int port) {
  const auto here = std::to_string(getpid());
  return {
      {"plain", "pass", [](const auto& found) { return found.status == 0 && found.out.empty(); }},
      {"plain", "pass", [](const auto& found) { return found.status == 0 && found.out.empty(); }},
      {"sum", "print(sum(range(1000)))", says("499500")},
      {"plain", "pass", [](const auto& found) { return found.status == 0 && found.out.empty(); }},
      {"network", tried("socket.create_connection(('127.0.0.1', " + std::to_string(port) + "), 1)"),
       says("ConnectionRefusedError")},
      {"host", tried("socket.socket(40, socket.SOCK_STREAM)"), says("PermissionError")},
      {"forks",
       "import os, time\nn = 0\ntry:\n  while n < 100:\n    if os.fork() == 0: time.sleep(60)\n    n += 1\n"
       "except OSError: print(n)",
       says("11")},
      {"forks of forks",
       "import os, time\nfor _ in range(6):\n  try: os.fork()\n  except OSError: pass\ntime.sleep(0.05)\n"
       "if os.getpid() == 1: print('end')",
       says("end")},
      {"memory", "try: bytearray(1 << 30)\nexcept MemoryError: print('refused')", says("refused")},
      {"memory by pieces",
       "kept = []\ntry:\n  while len(kept) < 1000: kept.append(bytearray(1 << 20))\n"
       "except MemoryError: n = len(kept); kept = None; print(n < 256)",
       says("True")},
      {"disk",
       "n = 0\ntry:\n  while n < 100:\n    with open('/tmp/%d' % n, 'wb', buffering=0) as f: f.write(bytes(1 << 20))\n"
       "    n += 1\nexcept OSError: print(n)",
       says("8")},
      {"one file",
       "f = open('/tmp/x', 'wb', buffering=0)\ntry:\n  while f.tell() < 100 << 20: f.write(bytes(1 << 20))\n"
       "except OSError: print(f.tell() >> 20)",
       says("4")},
      {"elsewhere", tried("open('/usr/x', 'w')"), says("OSError")},
      {"output", "import os\nwhile True: os.write(1, b'x' * 65536)", hits(sandbox::bound::output)},
      {"signals", tried("os.kill(" + here + ", signal.SIGKILL)"), says("ProcessLookupError")},
      {"everybody", tried("os.kill(-1, signal.SIGKILL)"), says("ProcessLookupError")},
      {"users", tried("open('/etc/passwd').read()"), says("FileNotFoundError")},
      {"secrets",
       "import os\nprint([v for v in os.environ if 'SECRET' in v], os.path.exists('/root'), "
       "os.path.exists('/proc/1'))",
       says("[] False False")},
      {"daemon",
       "import os, time\nif os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0: time.sleep(60)\n  os._exit(0)\n"
       "os.wait(); print('left')",
       says("left")},
      {"deaf", "import signal, time\nfor s in (1, 2, 3, 14, 15): signal.signal(s, signal.SIG_IGN)\ntime.sleep(60)",
       hits(sandbox::bound::time), milliseconds(300)},
  };
}

int listener(int& port) {
  const int made = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  if (bind(made, reinterpret_cast<sockaddr*>(&address), length) != 0 || listen(made, 64) != 0)
    std::exit(1);
  getsockname(made, reinterpret_cast<sockaddr*>(&address), &length);
  port = ntohs(address.sin_port);
  return made;
}

/// Milliseconds of python3 outside. Not the caller: its variables would be the child's as well.
[[gnu::noinline]] double run_python() {
  const auto start = steady::now();
  const pid_t child = vfork();
  if (child == 0) {
    execl("/usr/bin/python3", "python3", "-I", "-c", "pass", nullptr);
    _exit(127);
  }
  waitpid(child, nullptr, 0);
  return ms_since(start);
}

double at_share(const std::vector<double>& sorted, double share) {
  return sorted.empty() ? 0
                        : sorted[std::min(sorted.size() - 1,
                                          static_cast<std::size_t>(share * static_cast<double>(sorted.size())))];
}

/// What all programs came to.
struct tally {
  std::mutex lock;
  std::vector<double> own, plain, added; ///< ms: python3 outside; inside, all in all; any program but for its own time
  std::size_t escapes = 0, failed = 0;

  void count(const program& one, const sandbox::outcome& found, double ms) {
    const std::lock_guard hold(lock);
    added.push_back(ms - std::chrono::duration<double, std::milli>(found.wall).count());
    if (one.name == "plain")
      plain.push_back(ms);
    if (one.held(found))
      return;
    ++escapes;
    std::fprintf(stderr, "%s: bound %d, status %d, out \"%.80s\", err \"%.200s\"\n", one.name.c_str(),
                 static_cast<int>(found.hit), found.status, found.out.c_str(), found.err.c_str());
  }

  void count_python(double ms) {
    const std::lock_guard hold(lock);
    own.push_back(ms);
  }

  void fail(const program& one, const char* why) {
    const std::lock_guard hold(lock);
    ++failed;
    std::fprintf(stderr, "%s: %s\n", one.name.c_str(), why);
  }
};

void run_all(const std::vector<program>& list, std::size_t count, std::size_t slots, tally& into) {
  const sandbox::sandbox box(slots);
  std::atomic<std::size_t> next = 0;
  const auto work = [&] {
    for (std::size_t i = next++; i < count; i = next++) {
      const program& one = list[i % list.size()];
      if (one.name == "plain")
        into.count_python(run_python()); // under the same load
      const auto start = steady::now();
      try {
        sandbox::job what{.command = {"/usr/bin/python3", "-I", "-c", one.script}, .input = {}, .most = most};
        what.most.time = one.time;
        const auto found = box.run(what);
        into.count(one, found, ms_since(start));
      } catch (const sandbox::sandbox_failure& failure) {
        into.fail(one, failure.what());
      }
    }
  };
  std::vector<std::thread> running;
  for (std::size_t i = 0; i < slots; ++i)
    running.emplace_back(work);
  for (auto& thread : running)
    thread.join();
}

std::size_t left_over() {
  std::size_t count = 0;
  siginfo_t one{};
  for (; waitid(P_ALL, 0, &one, WEXITED | WNOHANG) == 0; ++count)
    if (one.si_pid == 0)
      return count + 1; // alive: how many cannot be said without ending them
  return count;
}

} // namespace

int main(int argc, char** argv) {
  std::size_t count = 200, slots = 2;
  for (int i = 1; i + 1 < argc; i += 2)
    (std::string(argv[i]) == "--slots" ? slots : count) = static_cast<std::size_t>(std::atoll(argv[i + 1]));
  if (const auto why = sandbox::sandbox(1).unusable(); !why.empty()) {
    std::fprintf(stderr, "no sandbox here: %s\n", why.c_str());
    return 1;
  }
  prctl(PR_SET_CHILD_SUBREAPER, 1); // whatever a sandbox leaves becomes a child of this process
  setenv("MILLRACE_SECRET", "4711", 1);
  int port = 0;
  const int ours = listener(port);
  tally found;
  const auto start = steady::now();
  run_all(programs(port), count, slots, found);
  const double seconds = ms_since(start) / 1000;
  found.escapes += accept(ours, nullptr, nullptr) >= 0;
  for (auto* times : {&found.own, &found.plain, &found.added})
    std::sort(times->begin(), times->end());
  const double python = at_share(found.own, 0.5);
  std::printf("{\"programs\": %zu, \"slots\": %zu, \"escapes\": %zu, \"failed\": %zu, \"left_over\": %zu, "
              "\"python3_ms\": {\"p50\": %.1f, \"p99\": %.1f}, \"over_python3_ms\": {\"p50\": %.1f, \"p99\": %.1f}, "
              "\"set_up_and_end_ms\": {\"p50\": %.1f, \"p99\": %.1f}, \"seconds\": %.0f}\n",
              count, slots, found.escapes, found.failed, left_over(), python, at_share(found.own, 0.99),
              at_share(found.plain, 0.5) - python, at_share(found.plain, 0.99) - python, at_share(found.added, 0.5),
              at_share(found.added, 0.99), seconds);
  return found.escapes + found.failed == 0 ? 0 : 1;
}
