#include "tests/chaos/chaos.hpp"
#include "tests/tools/tiny_run.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <deque>
#include <fstream>
#include <limits>
#include <random>

namespace watchers_test {

/// Strangers at the port where a run is watched.

using namespace millrace::tests;

namespace {

double resident_mib(pid_t process) {
  std::ifstream about("/proc/" + std::to_string(process) + "/statm");
  double all = 0, resident = 0;
  about >> all >> resident;
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE)) / (1 << 20);
}

/// Connects, says nothing, half a request or garbage, and holds the last 200 connections open.
class stranger {
public:
  ~stranger() {
    for (const int held : held_)
      ::close(held);
  }

  bool knock(std::uint16_t port) {
    const int connection = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in where{};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    where.sin_port = htons(port);
    const bool taken = ::connect(connection, reinterpret_cast<const sockaddr*>(&where), sizeof where) == 0;
    const auto words = some_words();
    if (taken && !words.empty())
      (void)!::send(connection, words.data(), words.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    held_.push_back(connection);
    if (held_.size() > 200) {
      ::close(held_.front());
      held_.pop_front();
    }
    return taken;
  }

private:
  std::string some_words() {
    switch (random_() % 4) {
    case 0:
      return {};
    case 1:
      return "GET / HTTP/1.1\r\nHost: loc";
    case 2:
      return "GET /events HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    default:
      std::string garbage(random_() % 20'000, '\0');
      for (auto& c : garbage)
        c = static_cast<char>(random_());
      return garbage;
    }
  }

  std::mt19937_64 random_{7};
  std::deque<int> held_;
};

std::uint16_t port_in(const std::string& words) {
  const std::string before = "watch it at http://127.0.0.1:";
  const auto at = words.find(before);
  return at == std::string::npos ? 0 : static_cast<std::uint16_t>(std::stoi(words.substr(at + before.size())));
}

/// A port that nobody listens at now.
std::uint16_t free_port() {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in where{};
  where.sin_family = AF_INET;
  where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof where;
  REQUIRE(::bind(socket, reinterpret_cast<const sockaddr*>(&where), bytes) == 0);
  REQUIRE(::getsockname(socket, reinterpret_cast<sockaddr*>(&where), &bytes) == 0);
  ::close(socket);
  return ntohs(where.sin_port);
}

/// The value of an expression in Prometheus' language that has one; NaN while there is none.
double asked(std::uint16_t prometheus, const std::string& expression) {
  const auto answer =
      run_to_end({"/usr/bin/env", "python3", "-c",
                  "import json, sys, urllib.parse, urllib.request\n"
                  "url = sys.argv[1] + urllib.parse.quote(sys.argv[2])\n"
                  "found = json.load(urllib.request.urlopen(url, timeout=5))['data']['result']\n"
                  "print(found[0]['value'][1] if found else 'nan')",
                  "http://127.0.0.1:" + std::to_string(prometheus) + "/api/v1/query?query=", expression});
  return answer.status == 0 ? std::stod(answer.out) : std::numeric_limits<double>::quiet_NaN();
}

} // namespace

TEST_CASE("Prometheus scrapes a run every second, misses at most one scrape and sees its steps go by") {
  if (!std::filesystem::exists("/usr/bin/prometheus")) {
    MESSAGE("skipped: no prometheus (Debian's package prometheus)");
    return;
  }
  const int seconds = long_sweep() ? 60 : 8;
  const tiny_run watched({.steps = 100'000});
  running_command running(watched.start({"--listen", "127.0.0.1:0"}));
  REQUIRE(reaches(running, watched.files(), 2));
  const auto port = free_port();
  write_file(watched / "prometheus.yml", "global: { scrape_interval: 1s }\nscrape_configs:\n  - job_name: millrace\n"
                                         "    static_configs: [ { targets: [ '127.0.0.1:"
                                             + std::to_string(port_in(running.err())) + "' ] } ]\n");
  running_command prometheus({"/usr/bin/prometheus", "--config.file=" + (watched / "prometheus.yml").string(),
                              "--storage.tsdb.path=" + (watched / "prometheus").string(),
                              "--web.listen-address=127.0.0.1:" + std::to_string(port)});
  const std::string window = "[" + std::to_string(seconds) + "s]";
  const auto scrapes = [&] { return asked(port, "sum(count_over_time(up" + window + "))"); };
  REQUIRE(wait_until([&] { return scrapes() >= seconds - 1; }, seconds + 60));
  CHECK(asked(port, "sum(sum_over_time(up" + window + "))") >= seconds - 2);
  CHECK(asked(port, "sum(delta(millrace_step" + window + "))") > 0);
  CHECK(asked(port, "sum(increase(millrace_tokens_total{role=\"policy\"}" + window + "))") > 0);
  CHECK(asked(port, "sum(millrace_resident_memory_bytes)") > 1e6);
  CHECK(asked(port, "count(millrace_groups)") == 6);
  MESSAGE(scrapes() << " scrapes, the longest took "
                    << asked(port, "max(max_over_time(scrape_duration_seconds" + window + "))") << " s");
  CHECK_FALSE(running.ended());
}

TEST_CASE("strangers at the port of the page change no bit of a run's losses and cost no memory") {
  const int strangers = long_sweep() ? 10'000 : 1'000, steps = long_sweep() ? 1'000 : 150;
  const tiny_run alone({.steps = steps}), watched({.steps = steps});
  running_command in_peace(alone.start());
  double peak_alone = 0;
  wait_until(
      [&] {
        peak_alone = std::max(peak_alone, resident_mib(in_peace.pid()));
        return in_peace.ended().has_value();
      },
      200);
  REQUIRE(in_peace.wait(1).status == 0);
  running_command running(watched.start({"--listen", "127.0.0.1:0"}));
  REQUIRE(reaches(running, watched.files(), 2));
  const auto port = port_in(running.err());
  stranger visitor;
  const double before = resident_mib(running.pid());
  double peak = before;
  int taken = 0;
  wait_until(
      [&] {
        for (int i = 0; i < 20 && taken < strangers; ++i)
          taken += visitor.knock(port) ? 1 : 0;
        peak = std::max(peak, resident_mib(running.pid()));
        return running.ended().has_value();
      },
      200);
  CHECK(running.wait(1).status == 0);
  CHECK(taken >= strangers / 4); // on a busy machine the run may end before the last of them
  CHECK(peak < peak_alone + 32);
  CHECK(watched.files().learning_curve() == alone.files().learning_curve());
  MESSAGE(taken << " connections: " << before << " MiB before, at most " << peak << " MiB; a run alone at most "
                << peak_alone << " MiB");
}

} // namespace watchers_test
