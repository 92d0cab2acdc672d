#include "tests/chaos/chaos.hpp"
#include "tests/support/two_hosts.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <iostream>
#include <memory>
#include <random>
#include <vector>

namespace struck_nodes_test {

/// Runs whose nodes are killed, frozen, cut off, leave and join in any order, and their processes with them.

using namespace millrace::tests;
using clk = std::chrono::steady_clock;

namespace {

constexpr int first_node_port = 7000, run_port = 7300;

/// For three more steps, whatever has happened before. A node that is lost may take `run.request_deadline_s` (2 s), and
/// so may each of the processes that start elsewhere in its place.
constexpr double goes_on_within_s = 45;

enum class blow { kill_node, freeze_node, node_leaves, node_joins, kill_far, freeze_far, kill_near, cut_cable };

constexpr const char* names[] = {"kill a node",    "freeze a node",    "a node leaves",       "a node joins",
                                 "kill a process", "freeze a process", "kill a process here", "cut the cable"};

struct tally {
  int blows = 0;
  double longest_s = 0; ///< until three more steps
};

/// Two hosts, a run on the near one, and the nodes that have been started on the far one.
class trial {
public:
  trial(std::uint64_t seed, tally& all) : random_(seed), all_(all) {
    const char* const presets[] = {"synchronous", "one_step_off", "bounded", "april"};
    run_ = std::make_unique<tiny_run>(
        tiny_pipeline{.steps = 1'000'000,
                      .preset = presets[below(4)],
                      .run = "request_deadline_s = 2\njoin_deadline_s = 5\ncheckpoint_every = 20\n"});
    write_file(folder_ / "secret", std::string(32, 's'));
    chmod((folder_ / "secret").c_str(), 0600);
  }

  void play() {
    start_node(false);
    running_command running(hosts_.near(run_->start(words())));
    REQUIRE(goes_on(running));
    for (auto blows = 3 + below(3); blows > 0; --blows) {
      strike(running, static_cast<blow>(below(8)));
      ++all_.blows;
    }
    hosts_.connect(true);
    const auto start = clk::now();
    CAPTURE(history_);
    CAPTURE(running.err());
    CHECK(goes_on(running));
    all_.longest_s = std::max(all_.longest_s, since(start));
    running.signal(SIGINT);
    CHECK(running.wait(30).status == 3);
    finish();
    check_nothing_left();
  }

private:
  std::uint64_t below(std::uint64_t end) { return random_() % end; }

  strings words() const {
    return {"--set", "placement.rollout={ processes = 2, hosts = \"any\" }",
            "--set", "placement.nodes=[\"" + address_of(0) + "\"]",
            "--set", "placement.port=" + std::to_string(run_port),
            "--set", "placement.secret_file=" + (folder_ / "secret").string()};
  }

  static std::string address_of(std::size_t node) {
    return std::string(two_hosts::far_address) + ":" + std::to_string(first_node_port + node);
  }

  void start_node(bool joins) {
    auto command =
        command_line({"node", "--listen", address_of(nodes_.size()), "--secret-file", (folder_ / "secret").string()});
    if (joins)
      command.insert(command.end(), {"--join", std::string(two_hosts::near_address) + ":" + std::to_string(run_port)});
    nodes_.push_back(std::make_unique<running_command>(hosts_.far(command)));
    auto& fresh = *nodes_.back(); // a signal that comes before it listens ends it as any program
    REQUIRE(wait_until([&] { return fresh.err().find("listening on") != std::string::npos || fresh.ended(); }));
  }

  /// The newest node that has not ended; nullptr: none.
  running_command* node() {
    for (auto at = nodes_.rbegin(); at != nodes_.rend(); ++at)
      if (!(*at)->ended())
        return at->get();
    return nullptr;
  }

  /// A process of one host that is neither a node nor the run; 0: there is none.
  pid_t process_beside(pid_t somebody) {
    auto all = processes_beside(somebody);
    std::erase_if(all, [&](pid_t one) {
      return one == somebody || one == anchor_.pid()
             || std::ranges::any_of(nodes_, [&](const auto& node) { return node->pid() == one; });
    });
    return all.empty() ? 0 : all[below(all.size())];
  }

  void strike(const running_command& running, blow what) {
    history_ += std::string(history_.empty() ? "" : ", ") + names[static_cast<int>(what)];
    auto* const newest = node();
    const auto signal = [](pid_t whom, int number) {
      if (whom > 0)
        kill(whom, number);
    };
    switch (what) {
    case blow::kill_node:
      signal(newest ? newest->pid() : 0, SIGKILL);
      break;
    case blow::freeze_node:
      signal(newest ? newest->pid() : 0, SIGSTOP);
      break;
    case blow::node_leaves:
      signal(newest ? newest->pid() : 0, SIGINT);
      break;
    case blow::node_joins:
      start_node(true);
      break;
    case blow::kill_far:
      signal(process_beside(anchor_.pid()), SIGKILL);
      break;
    case blow::freeze_far:
      signal(process_beside(anchor_.pid()), SIGSTOP);
      break;
    case blow::kill_near:
      signal(process_beside(running.pid()), SIGKILL);
      break;
    case blow::cut_cable:
      hosts_.connect(below(3) == 0); // else it stays cut until the next of these, or the last blow
      break;
    }
    const auto until = clk::now() + std::chrono::milliseconds(below(1500));
    wait_until([&] { return clk::now() >= until; });
  }

  bool goes_on(running_command& running) const {
    return reaches(running, run_->files(), run_->files().steps() + 3, goes_on_within_s);
  }

  /// On this host alone, for two more steps.
  void finish() const {
    const auto steps = static_cast<int>(run_->files().steps()) + 2;
    const auto end = run_to_end(
        hosts_.near(run_->resume({"--set", "placement.nodes=[]", "--set", "run.steps=" + std::to_string(steps)})), 60);
    CAPTURE(end.err);
    CHECK(end.status == 0);
    check_books(run_->files(), steps);
  }

  /// But the nodes that were not told to end, and on the far host nobody else.
  void check_nothing_left() {
    for (const auto& node : nodes_)
      node->signal(SIGCONT);
    std::vector<pid_t> others;
    const bool none = wait_until(
        [&] {
          others = processes_beside(anchor_.pid());
          std::erase_if(others, [&](pid_t one) {
            return one == anchor_.pid()
                   || std::ranges::any_of(nodes_, [&](const auto& node) { return node->pid() == one; });
          });
          return others.empty();
        },
        15);
    CAPTURE(others.size());
    CHECK(none);
    for (const auto& node : nodes_)
      if (!node->ended()) {
        node->signal(SIGINT);
        CAPTURE(node->err());
        CHECK(node->wait(10).status == 0);
      }
  }

  std::mt19937_64 random_;
  tally& all_;
  temporary_folder folder_;
  two_hosts hosts_;
  running_command anchor_{hosts_.far({"/bin/sleep", "1000"})}; ///< somebody of the far host
  std::unique_ptr<tiny_run> run_;
  std::vector<std::unique_ptr<running_command>> nodes_;
  std::string history_;
};

} // namespace

TEST_CASE("nodes that are killed, frozen, cut off, leave and join: the run goes on, nothing lost, twice or left") {
  if (!can_have_two_hosts())
    return;
  const std::uint64_t trials = long_sweep() ? 100 : 2;
  const char* const single = std::getenv("MILLRACE_CHAOS_SEED"); // to play one again
  tally all;
  const auto shared_before = names_in("/dev/shm");
  for (std::uint64_t seed = single ? std::stoull(single) : 1; seed <= (single ? std::stoull(single) : trials); ++seed) {
    CAPTURE(seed);
    const scratch_folder scratch;
    trial(seed, all).play();
    CHECK(scratch.left().empty());
    if (long_sweep())
      std::cout << "trial " << seed << ": " << all.blows << " blows so far, the longest until three more steps "
                << all.longest_s << " s" << std::endl;
  }
  CHECK(names_in("/dev/shm") == shared_before);
  MESSAGE(trials << " trials, " << all.blows << " blows, the longest until three more steps " << all.longest_s << " s");
}

} // namespace struck_nodes_test
