#include "tests/chaos/chaos.hpp"
#include "tests/tools/tiny_run.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <iostream>
#include <random>
#include <set>
#include <sstream>

namespace struck_test {

/// Runs whose processes are killed, frozen or told to stop at any moment from their first on.

using namespace millrace::tests;

namespace {

constexpr int steps = 30;

/// No session takes longer, however it was struck. A session in peace takes 2 s here.
constexpr double hang_s = 30;

/// What the trials have come to.
struct tally {
  int sessions = 0;
  double longest_s = 0;
};

/// The processes that a process has started and that have not ended.
std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  std::error_code gone;
  for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(parent) + "/task", gone)) {
    std::ifstream list(task.path() / "children");
    for (pid_t child = 0; list >> child;)
      children.push_back(child);
  }
  return children;
}

struct strike {
  int signal = SIGKILL;
  double after_s = 0;
  std::size_t whom = 0; ///< 0: the run's own process; else one of its children
};

const char* name_of(int signal) {
  return signal == SIGKILL ? "SIGKILL" : signal == SIGSTOP ? "SIGSTOP" : "SIGTERM";
}

/// One session of a run under one blow. @returns its exit status; minus the signal that ended it
int session_under(const strike& blow, const strings& command, std::set<pid_t>& seen, tally& all) {
  running_command running(command);
  const auto start = std::chrono::steady_clock::now();
  bool struck = false;
  pid_t frozen = 0;
  const bool ended = wait_until(
      [&] {
        for (const auto child : children_of(running.pid()))
          seen.insert(child);
        if (!struck && since(start) >= blow.after_s) {
          const auto children = children_of(running.pid());
          const bool own = blow.whom == 0 || children.empty();
          const auto victim = own ? running.pid() : children[blow.whom % children.size()];
          struck = kill(victim, blow.signal) == 0;
          if (own && blow.signal == SIGSTOP)
            frozen = victim;
        }
        if (frozen > 0 && since(start) >= blow.after_s + 3) { // who is frozen himself needs somebody to wake him
          kill(frozen, SIGCONT);
          frozen = 0;
        }
        return running.ended().has_value();
      },
      hang_s);
  ++all.sessions;
  all.longest_s = std::max(all.longest_s, since(start));
  CAPTURE(running.err());
  CHECK(ended); // no hang
  const auto end = running.wait(0.1);
  return end.signal > 0 ? -end.signal : end.status;
}

void try_seed(std::uint64_t seed, tally& all) {
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const char* const presets[] = {"synchronous", "one_step_off", "bounded"};
  const tiny_run run({.steps = steps,
                      .preset = presets[random() % 3],
                      .reference = random() % 2 == 0,
                      .run = "checkpoint_every = 4\njoin_deadline_s = 5\n"});
  const auto files = run.files();
  const bool placed = random() % 4 != 0;
  const auto shared_before = names_in("/dev/shm");
  const scratch_folder scratch;
  std::set<pid_t> seen;
  int status = -1;
  for (int session = 0; status != 0 && session < 6; ++session) {
    const int signals[] = {SIGKILL, SIGSTOP, SIGTERM};
    strike blow{
        .signal = signals[random() % 3], .after_s = static_cast<double>(random() % 1500) / 1000, .whom = random() % 5};
    if (session >= 3)
      blow.after_s = 1e9; // the last ones are left in peace
    CAPTURE(session);
    CAPTURE(name_of(blow.signal));
    CAPTURE(blow.after_s);
    CAPTURE(blow.whom);
    const bool begun = std::filesystem::exists(files.folder() / "resolved.toml");
    const bool reference = read_file(run / "tiny.toml").find("roles.frozen") != std::string::npos;
    const auto command = begun ? run.resume() : run.start(placed ? placed_apart(reference) : strings{});
    status = session_under(blow, command, seen, all);
    CHECK((status == 0 || status == 1 || status == 3 || status == -SIGKILL || status == -SIGTERM));
    for (const auto child : seen)
      CHECK(wait_until([&] { return !is_running(child); }, 5)); // no orphans
  }
  CHECK(status == 0);
  check_books(files, steps);
  CHECK(scratch.left().empty());
  CHECK(names_in("/dev/shm") == shared_before);
}

/// A port of this machine that takes connections and never says a word.
class deaf_port {
public:
  deaf_port() : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof where;
    REQUIRE(::bind(socket_, reinterpret_cast<sockaddr*>(&where), size) == 0);
    REQUIRE(::listen(socket_, 16) == 0);
    REQUIRE(::getsockname(socket_, reinterpret_cast<sockaddr*>(&where), &size) == 0);
    port_ = ntohs(where.sin_port);
  }

  ~deaf_port() { ::close(socket_); }

  deaf_port(const deaf_port&) = delete;
  deaf_port& operator=(const deaf_port&) = delete;

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }

private:
  int socket_;
  std::uint16_t port_ = 0;
};

} // namespace

TEST_CASE(
    "whoever is killed, frozen or stopped at whatever moment: nothing lost, nothing twice, no hang, nothing left") {
  const std::uint64_t trials = long_sweep() ? 300 : 6;
  tally all;
  for (std::uint64_t seed = 1; seed <= trials; ++seed) {
    try_seed(seed, all);
    if (long_sweep())
      std::cout << "trial " << seed << ": " << all.sessions << " sessions so far, the longest of " << all.longest_s
                << " s" << std::endl;
  }
  MESSAGE(trials << " trials, " << all.sessions << " sessions, the longest of " << all.longest_s << " s");
}

TEST_CASE("a process that freezes before it has joined is missed, killed and started again") {
  const tiny_run run({.steps = 6});
  running_command running(run.start({"--set", "placement.rollout.processes=1", "--set", "run.join_deadline_s=2"}));
  std::vector<pid_t> children;
  REQUIRE(wait_until([&] { return !(children = children_of(running.pid())).empty() || running.ended(); }));
  REQUIRE(kill(children.at(0), SIGSTOP) == 0);
  const auto end = running.wait(30);
  CAPTURE(running.err());
  CHECK(end.status == 0);
  CHECK(running.err().find("has not joined within") != std::string::npos);
  CHECK(running.err().find("started again as process") != std::string::npos);
  check_each_group_once(run.files(), 6);
}

TEST_CASE("a node that takes connections and never answers: a line, and the end within seconds") {
  const deaf_port port;
  const temporary_folder folder;
  write_file(folder / "secret", "0123456789abcdef0123456789abcdef");
  ::chmod((folder / "secret").c_str(), 0600);
  const tiny_run run;
  const auto start = std::chrono::steady_clock::now();
  running_command running(run.start({"--set", "placement.rollout.hosts=[\"" + port.address() + "\"]", "--set",
                                     "placement.secret_file=" + (folder / "secret").string()}));
  const auto end = running.wait(60);
  CAPTURE(running.err());
  CHECK(end.status == 1);
  CHECK(running.err().find("accepts connections and does not answer") != std::string::npos);
  CHECK(since(start) < 30);
}

} // namespace struck_test
