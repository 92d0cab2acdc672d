#include "tests/chaos/chaos.hpp"
#include "tests/support/two_hosts.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <random>

namespace struck_ranks_test {

/// Learners of two processes on two hosts, of which one is killed or frozen at any moment from its first on.

using namespace millrace::tests;
using clk = std::chrono::steady_clock;

namespace {

constexpr int steps = 20;
constexpr const char* near_node = "10.99.0.1:7000";
constexpr const char* far_node = "10.99.0.2:7000";
constexpr int node_port = 7000;
constexpr int run_port = 7300, first_port = 7400,
              last_port = 7402; // a host has at most a run, a rank's data and a rank
constexpr double killed_noticed_within_s = 1, frozen_noticed_within_s = 3;

/// A node on each of two hosts. They serve one run after another.
struct two_nodes {
  temporary_folder folder;
  two_hosts hosts;
  running_command near, far;

  two_nodes() : near(hosts.near(node(near_node))), far(hosts.far(node(far_node))) {
    for (auto* one : {&near, &far})
      REQUIRE(wait_until([&] { return says_listening(*one) || one->ended(); }));
  }

  std::string secret() const { return (folder / "secret").string(); }

private:
  strings node(const std::string& where) const {
    write_file(folder / "secret", std::string(32, 's'));
    chmod(secret().c_str(), 0600);
    return command_line({"node", "--listen", where, "--secret-file", secret()});
  }

  static bool says_listening(const running_command& one) { return one.err().find("listening on") != std::string::npos; }
};

/// A second blow, while the run may still be busy with the first.
struct afterblow {
  int rank = 0, signal = SIGKILL;
  double after_s = 0; ///< from when the first was noticed
};

/// One run and what befalls it.
struct trial {
  std::string role = "learner", shard = "none", preset = "synchronous";
  bool far_first = false; ///< whether the first rank lives on the far host
  int rank = 0;           ///< who is struck
  int signal = SIGKILL;
  std::size_t step = 0; ///< trained before the blow; 0: it may come before the rank is up
  double after_s = 0;   ///< from that step, or from the start of the rank's process
  std::optional<afterblow> again = {};

  tiny_pipeline pipeline() const {
    return {.steps = steps,
            .preset = preset,
            .critic = role == "critic",
            .run = "checkpoint_every = 4\njoin_deadline_s = 2.5\npeer_timeout_ms = 2000\n"};
  }

  std::string victim() const { return name_of(rank); }

  std::string name_of(int of) const { return role + "/" + std::to_string(of); }
};

const char* word_of(int signal) {
  return signal == SIGKILL ? "SIGKILL" : "SIGSTOP";
}

std::ostream& operator<<(std::ostream& out, const trial& t) {
  out << t.victim() << (t.far_first == (t.rank == 0) ? " (far)" : " (near)") << ", shard " << t.shard << ", "
      << t.preset << ", " << word_of(t.signal) << ' ' << t.after_s << " s after "
      << (t.step == 0 ? std::string("its start") : "step " + std::to_string(t.step));
  if (t.again)
    out << ", then " << t.name_of(t.again->rank) << ", " << word_of(t.again->signal) << ' ' << t.again->after_s
        << " s after that was noticed";
  return out;
}

trial drawn(std::uint64_t number) {
  std::mt19937_64 random(number);
  const auto up_to = [&](std::size_t most) { return std::uniform_int_distribution<std::size_t>(0, most)(random); };
  trial t;
  t.role = number % 2 == 0 ? "learner" : "critic";
  t.shard = std::vector{"none", "optimizer", "full"}[number % 3];
  t.preset = up_to(3) == 0 ? "bounded" : "synchronous";
  t.far_first = up_to(1) == 0;
  t.rank = static_cast<int>(up_to(1));
  t.signal = up_to(1) == 0 ? SIGKILL : SIGSTOP;
  t.step = up_to(3) == 0 ? 0 : 1 + up_to(12);
  t.after_s = static_cast<double>(up_to(t.step == 0 ? 1500 : 50)) / 1000;
  if (up_to(2) == 0)
    t.again = afterblow{.rank = static_cast<int>(up_to(1)),
                        .signal = up_to(1) == 0 ? SIGKILL : SIGSTOP,
                        .after_s = static_cast<double>(up_to(2000)) / 1000};
  return t;
}

strings words_of(const trial& t, bool ranks, const std::string& secret) {
  strings sets;
  const auto set = [&](const std::string& what) { sets.insert(sets.end(), {"--set", what}); };
  // The same number of threads a rank, and micro-batches that ranks can share.
  for (const std::string role : {"learner", "critic"})
    if (role == "learner" || t.role == "critic") {
      set("roles." + role + ".threads=1");
      set("roles." + role + ".micro_batch_tokens=64");
    }
  if (!ranks)
    return sets;
  const std::string near = '"' + std::string(near_node) + '"', far = '"' + std::string(far_node) + '"';
  set("placement.secret_file=" + secret);
  set("placement.port=" + std::to_string(run_port));
  set("placement.data_ports=[" + std::to_string(first_port) + "," + std::to_string(last_port) + "]");
  set("placement." + t.role + ".hosts=[" + (t.far_first ? far + "," + near : near + "," + far) + "]");
  set("placement." + t.role + ".shard=" + t.shard);
  return sets;
}

/// The curve of a run whose learners are one process and lose nobody.
const strings& undisturbed(const trial& t) {
  static std::map<std::string, strings> known;
  auto& curve = known[t.role];
  if (curve.empty()) {
    const tiny_run run(t.pipeline());
    const auto end = run_to_end(run.start(words_of(t, false, "")), 60);
    CAPTURE(end.err);
    REQUIRE(end.status == 0);
    curve = run.files().learning_curve();
  }
  return curve;
}

/// Whether one of the lines says that a process is missed: it is gone, it is replaced, or it has not come.
bool says_missed(const std::string& lines, const std::string& victim, pid_t pid) {
  if (lines.find("process " + std::to_string(pid) + " is gone (") != std::string::npos)
    return true;
  for (const char* how : {"started again as process", "has not joined within", "joined and has not gone on within",
                          "dies again and again"})
    for (auto at = lines.find(how); at != std::string::npos; at = lines.find(how, at + 1)) {
      const auto line = lines.rfind('\n', at) + 1; // npos + 1 is the first line
      if (lines.find(' ' + victim + ' ', line) < at)
        return true;
    }
  return false;
}

/// Nobody listens at any port but the node's and those that were set.
void check_ports(const two_nodes& nodes) {
  for (const auto* node : {&nodes.near, &nodes.far})
    for (const auto& where : listeners_beside(node->pid())) {
      const int port = std::stoi(where.substr(where.rfind(':') + 1));
      CHECK_MESSAGE((port == node_port || port == run_port || (port >= first_port && port <= last_port)), where);
    }
}

/// Waits for the trial's moment and strikes. @returns how long it took until the run's log said so, in seconds; nothing
/// if the run had ended, or never said so
std::optional<double> strike(const trial& t, running_command& running, const run_on_disk& files,
                             const two_nodes& nodes) {
  pid_t pid = 0;
  const auto is_there = [&] {
    pid = files.process_of(t.victim());
    return running.ended() || (pid > 0 && files.steps() >= t.step);
  };
  wait_until(is_there);
  const auto moment = clk::now();
  wait_until([&] { return since(moment) >= t.after_s; });
  check_ports(nodes);
  const auto said = running.err().size();
  const auto struck = clk::now();
  if (running.ended() || pid <= 0 || kill(pid, t.signal) != 0)
    return std::nullopt;
  const auto is_missed = [&] { return says_missed(running.err().substr(said), t.victim(), pid); };
  if (!wait_until([&] { return is_missed() || running.ended(); }) || !is_missed())
    return std::nullopt;
  const double noticed = since(struck);
  CHECK(wait_until([&] { return !is_running(pid); }, 5));
  return noticed;
}

/// Whoever it hits, and whether it hits at all, depends on how far the run has come with the first blow.
void strike_again(const trial& t, running_command& running, const run_on_disk& files) {
  const auto noticed = clk::now();
  if (!wait_until([&] { return running.ended() || since(noticed) >= t.again->after_s; }) || running.ended())
    return;
  if (const auto pid = files.process_of(t.name_of(t.again->rank)); is_running(pid))
    kill(pid, t.again->signal);
}

void check_nothing_left(const two_nodes& nodes) {
  const std::pair<const running_command*, const char*> all[] = {{&nodes.near, near_node}, {&nodes.far, far_node}};
  for (const auto& [node, name] : all) {
    CAPTURE(name);
    CHECK(wait_until([&, one = node] { return processes_beside(one->pid()) == std::vector{one->pid()}; }, 5));
    CHECK(wait_until([&, one = node, where = name] { return listeners_beside(one->pid()) == strings{where}; }, 5));
  }
}

struct slowest {
  double killed_s = 0, frozen_s = 0;
};

void try_one(std::uint64_t number, const two_nodes& nodes, const scratch_folder& scratch, slowest& notices) {
  const auto t = drawn(number);
  CAPTURE(number);
  CAPTURE(t);
  const tiny_run run(t.pipeline());
  const auto shared_before = names_in("/dev/shm"), files_before = scratch.left();
  const auto files = run.files();
  {
    running_command running(nodes.hosts.near(run.start(words_of(t, true, nodes.secret()))));
    const auto noticed = strike(t, running, files, nodes);
    if (noticed && t.again)
      strike_again(t, running, files);
    const auto end = running.wait(60);
    CAPTURE(running.err());
    CHECK(noticed.has_value());
    CHECK(end.status == 0);
    if (!noticed || end.status != 0)
      return;
    CHECK(*noticed < (t.signal == SIGKILL ? killed_noticed_within_s : frozen_noticed_within_s));
    auto& slower = t.signal == SIGKILL ? notices.killed_s : notices.frozen_s;
    slower = std::max(slower, *noticed);
    check_nothing_left(nodes);
  }
  check_books(files, steps);
  if (t.preset == "synchronous") {
    check_each_group_once(files, steps);
    CHECK(files.learning_curve() == undisturbed(t));
  }
  for (const auto& name : names_in(files.folder() / "checkpoints"))
    CHECK_MESSAGE(name.starts_with("step-"), name);
  CHECK(names_in("/dev/shm") == shared_before);
  CHECK(scratch.left() == files_before);
}

} // namespace

TEST_CASE("a rank on one of two hosts is killed or frozen at whatever moment: noticed in time, nothing lost, nothing "
          "twice, nothing left") {
  if (!can_have_two_hosts())
    return;
  const scratch_folder scratch;
  two_nodes nodes;
  slowest notices;
  const std::uint64_t trials = long_sweep() ? 100 : 4;
  for (std::uint64_t number = 0; number < trials; ++number)
    try_one(number, nodes, scratch, notices);
  for (auto* node : {&nodes.near, &nodes.far}) {
    node->signal(SIGINT);
    CHECK(node->wait(10).status == 0);
  }
  MESSAGE("of " << trials << " trials, the slowest notice of a SIGKILL came after " << notices.killed_s
                << " s, of a SIGSTOP after " << notices.frozen_s << " s");
}

} // namespace struck_ranks_test
