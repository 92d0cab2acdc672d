#include "runtime/access/proof.hpp"
#include "tests/chaos/chaos.hpp"
#include "tests/tools/tiny_run.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <deque>
#include <fstream>
#include <optional>
#include <random>
#include <set>
#include <sstream>

namespace strangers_test {

/// Strangers at every port of a run and of a node: users of the same machine who hold no key. And one who does.

using namespace millrace;
using namespace millrace::tests;

namespace {

/// A process and all that it has started.
std::vector<pid_t> family_of(pid_t first) {
  std::vector<pid_t> family{first};
  std::error_code gone;
  for (std::size_t i = 0; i < family.size(); ++i)
    for (const auto& task : std::filesystem::directory_iterator("/proc/" + std::to_string(family[i]) + "/task", gone)) {
      std::ifstream list(task.path() / "children");
      for (pid_t child = 0; list >> child;)
        family.push_back(child);
    }
  return family;
}

/// Inodes of a process's sockets, as /proc writes them.
std::set<std::string> sockets_of(pid_t process) {
  std::set<std::string> inodes;
  std::error_code gone;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/" + std::to_string(process) + "/fd", gone)) {
    const auto target = std::filesystem::read_symlink(entry.path(), gone).string();
    if (target.starts_with("socket:["))
      inodes.insert(target.substr(8, target.size() - 9));
  }
  return inodes;
}

/// Ports of this machine on which one of the processes listens. Sockets that they inherited from whoever started the
/// tests are not theirs.
std::set<std::uint16_t> ports_of(const std::vector<pid_t>& processes) {
  std::set<std::string> inodes;
  for (const auto process : processes)
    inodes.merge(sockets_of(process));
  for (const auto& inherited : sockets_of(::getpid()))
    inodes.erase(inherited);
  std::set<std::uint16_t> ports;
  std::ifstream table("/proc/net/tcp");
  std::string line;
  std::getline(table, line); // the heading
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    std::string slot, local, remote, state, queues, timer, retransmits, owner, timeout, inode;
    fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> owner >> timeout >> inode;
    if (state == "0A" && inodes.contains(inode)) // TCP_LISTEN
      ports.insert(static_cast<std::uint16_t>(std::stoi(local.substr(local.find(':') + 1), nullptr, 16)));
  }
  return ports;
}

double resident_mib(const std::vector<pid_t>& processes) {
  double pages = 0;
  for (const auto process : processes) {
    std::ifstream about("/proc/" + std::to_string(process) + "/statm");
    double all = 0, resident = 0;
    about >> all >> resident;
    pages += resident;
  }
  return pages * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

/// Somebody without a key who knocks at ports in every way that is no protocol of anybody.
class stranger {
public:
  explicit stranger(std::uint64_t seed) : random_(seed) {}

  ~stranger() {
    for (const int held : held_)
      ::close(held);
  }

  stranger(const stranger&) = delete;
  stranger& operator=(const stranger&) = delete;

  /// @returns whether the port took the connection
  bool knock(std::uint16_t port) {
    const int connection = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    where.sin_port = htons(port);
    const bool taken =
        ::connect(connection, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0 || errno == EINPROGRESS;
    const auto words = something_to_say();
    if (!words.empty())
      ::send(connection, words.data(), words.size(), MSG_NOSIGNAL);
    if (random_() % 4 == 0) { // an abrupt end
      const linger at_once{1, 0};
      ::setsockopt(connection, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
      ::close(connection);
      return taken;
    }
    held_.push_back(connection); // a slow end
    if (held_.size() > 200) {
      ::close(held_.front());
      held_.pop_front();
    }
    return taken;
  }

private:
  std::string something_to_say() {
    std::string words;
    switch (random_() % 5) {
    case 0: // nothing
      break;
    case 1: // another protocol
      words = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
      break;
    case 2: // the beginning of a proof
      words = "MLR1";
      break;
    case 3: // a proof of something else
      words = "MLR1" + std::string(48, static_cast<char>(random_()));
      break;
    default: // noise
      words.resize(random_() % 20'000);
      for (auto& letter : words)
        letter = static_cast<char>(random_());
    }
    return words;
  }

  std::mt19937_64 random_;
  std::deque<int> held_;
};

/// Somebody who knows the key of a run's port for its own host, and keeps none of its rules.
class insider {
public:
  /// @param worker a process of the run that the run has started @param run its coordinator
  insider(pid_t worker, pid_t run) {
    std::ifstream environment("/proc/" + std::to_string(worker) + "/environ"),
        words("/proc/" + std::to_string(worker) + "/cmdline");
    const std::string name = "MILLRACE_KEY=", before = "127.0.0.1:";
    for (std::string one; std::getline(environment, one, '\0');)
      if (one.starts_with(name))
        key_ = access::key_from_hex(one.substr(name.size()));
    for (std::string one; std::getline(words, one, '\0');)
      if (one.starts_with(before))
        where_.sin_port = htons(static_cast<std::uint16_t>(std::stoi(one.substr(before.size()))));
    REQUIRE(key_.has_value());
    REQUIRE(ports_of({run}).contains(ntohs(where_.sin_port)));
    where_.sin_family = AF_INET;
    where_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  }

  ~insider() {
    for (const int held : held_)
      ::close(held);
  }

  insider(const insider&) = delete;
  insider& operator=(const insider&) = delete;

  /// Connects with a right proof and says that.
  void say(const std::string& words) {
    const int connection = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    held_.push_back(connection);
    const auto* place = reinterpret_cast<const sockaddr*>(&where_);
    REQUIRE(::connect(connection, place, sizeof where_) == 0);
    const auto proof = access::make_proof(*key_, access::place_of(place));
    const auto all = std::string(reinterpret_cast<const char*>(proof.data()), proof.size()) + words;
    CHECK(::send(connection, all.data(), all.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(all.size()));
  }

private:
  std::optional<access::key256> key_;
  sockaddr_in where_{};
  std::deque<int> held_;
};

/// The header of a frame of CAF: kind and length of what follows.
std::string frame_of(char kind, std::uint32_t bytes) {
  std::string header(32, '\0');
  header[0] = kind;
  for (int i = 0; i < 4; ++i)
    header[static_cast<std::size_t>(4 + i)] = static_cast<char>(bytes >> 8 * (3 - i));
  return header;
}

/// How a run went: its curve, and the most memory that its processes held together.
struct outcome {
  strings curve;
  double peak_mib = 0;
  int connections = 0; ///< of strangers, taken by a port while it ran
  std::set<std::uint16_t> ports;
  std::string err;
};

/// @param strangers how many connections, spread over the run's ports while it runs
outcome run_under(int strangers, int steps) {
  const tiny_run run({.steps = steps});
  running_command running(run.start(placed_apart(false)));
  outcome result;
  stranger visitor(7);
  REQUIRE(reaches(running, run.files(), 2));
  result.ports = ports_of(family_of(running.pid()));
  const std::vector<std::uint16_t> ports(result.ports.begin(), result.ports.end());
  wait_until(
      [&] {
        for (int i = 0; i < 10 && result.connections < strangers; ++i)
          result.connections +=
              visitor.knock(ports[static_cast<std::size_t>(result.connections) % ports.size()]) ? 1 : 0;
        result.peak_mib = std::max(result.peak_mib, resident_mib(family_of(running.pid())));
        return running.ended().has_value();
      },
      strangers > 2'000 ? 200 : 60);
  const auto end = running.wait(1);
  result.err = running.err();
  CAPTURE(result.err);
  CHECK(end.status == 0);
  check_each_group_once(run.files(), steps);
  result.curve = run.files().learning_curve();
  return result;
}

} // namespace

TEST_CASE("strangers at every port of a run change no bit of its losses and cost no memory") {
  const int strangers = long_sweep() ? 10'000 : 800, steps = long_sweep() ? 600 : 60;
  const auto alone = run_under(0, steps);
  const auto visited = run_under(strangers, steps);
  CHECK(visited.ports.size() >= 5); // the coordinator's, and each process's data plane
  CHECK(visited.connections == strangers);
  CHECK(visited.curve == alone.curve);
  CHECK(visited.peak_mib < alone.peak_mib + 64);
  CHECK(visited.err.find("turned away 127.0.0.1:") != std::string::npos);
  MESSAGE(strangers << " connections at " << visited.ports.size() << " ports: at most " << visited.peak_mib
                    << " MiB, alone " << alone.peak_mib << " MiB");
}

TEST_CASE("a peer with a right proof and wrong words changes no bit of a run's losses and costs no memory") {
  const int steps = long_sweep() ? 600 : 60, visits = long_sweep() ? 2'000 : 40;
  const auto alone = run_under(0, steps);
  const tiny_run run({.steps = steps});
  running_command running(run.start(placed_apart(false)));
  REQUIRE(reaches(running, run.files(), 2));
  const auto family = family_of(running.pid());
  REQUIRE(family.size() > 1);
  insider visitor(family[1], running.pid());
  double peak_mib = 0;
  std::mt19937_64 random(9);
  int said = 0;
  wait_until(
      [&] {
        if (said++ < visits) {
          visitor.say(frame_of(1, 200 << 20)); // 200 MiB are to come; none does
          std::string noise(random() % 3'000, '\0');
          for (auto& letter : noise)
            letter = static_cast<char>(random());
          visitor.say(noise);
          visitor.say("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
          visitor.say("");
        }
        peak_mib = std::max(peak_mib, resident_mib(family_of(running.pid())));
        return running.ended().has_value();
      },
      100);
  const auto end = running.wait(1);
  const auto err = running.err();
  CAPTURE(err);
  CHECK(end.status == 0);
  CHECK(said > 3);
  CHECK(run.files().learning_curve() == alone.curve);
  CHECK(peak_mib < alone.peak_mib + 64);
  CHECK(err.find(": a frame of kind 1 and 209715200 bytes, at most 65536") != std::string::npos);
  const int connections = 4 * std::min(said, visits);
  MESSAGE(connections << " connections: at most " << peak_mib << " MiB, alone " << alone.peak_mib << " MiB");
}

TEST_CASE("strangers at a node are named, cost nothing, and the node ends when it is told to") {
  const temporary_folder folder;
  write_file(folder / "secret", std::string(32, 's'));
  std::filesystem::permissions(folder / "secret", std::filesystem::perms::owner_read);
  running_command node(
      command_line({"node", "--listen", "127.0.0.1:0", "--secret-file", (folder / "secret").string()}));
  const std::string listening = "listening on 127.0.0.1:";
  REQUIRE(wait_until([&] { return node.err().find(listening) != std::string::npos || node.ended(); }));
  const auto err = node.err();
  CAPTURE(err);
  const auto ports = ports_of({node.pid()});
  const auto port = static_cast<std::uint16_t>(std::atoi(err.c_str() + err.find(listening) + listening.size()));
  REQUIRE(ports.contains(port));
  stranger visitor(8);
  REQUIRE(visitor.knock(port));
  const double before = resident_mib({node.pid()});
  const int strangers = long_sweep() ? 10'000 : 500;
  for (int i = 0; i < strangers; ++i)
    visitor.knock(port);
  CHECK(wait_until([&] { return node.err().find("turned away 127.0.0.1:") != std::string::npos; }));
  CHECK(resident_mib({node.pid()}) < before + 64);
  CHECK_FALSE(node.ended());
  node.signal(SIGTERM);
  CHECK(node.wait(10).status == 0);
}

} // namespace strangers_test
