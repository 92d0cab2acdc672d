#include "tests/support/two_hosts.hpp"
#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <csignal>

namespace launch_test {

using namespace millrace::tests;

namespace {

/// A script in ssh's place: it takes a host and a command line for it, which it runs here.
struct stand_in {
  temporary_folder folder;

  explicit stand_in(const std::string& body = "exec /bin/sh -c \"$2\"") {
    write_file(folder / "ssh", "#!/bin/sh\necho \"$1 $2\" >> '" + (folder / "asked").string() + "'\n" + body + "\n");
    chmod((folder / "ssh").c_str(), 0755);
  }

  /// `millrace launch` of a tiny run whose rollouts live on any host.
  strings launch(const tiny_run& run, const std::string& hosts, const strings& more = {}) const {
    strings words{"launch",   (run / "tiny.toml").string(),  "--hosts", hosts,  "--ssh", (folder / "ssh").string(),
                  "--output", run.files().folder().string(), "--port",  port(), "--set", "placement.rollout.hosts=any"};
    words.insert(words.end(), more.begin(), more.end());
    return command_line(words);
  }

  std::string asked() const { return read_file(folder / "asked"); }

  /// Of this test alone, below those that systems hand out.
  static std::string port() { return std::to_string(21000 + getpid() % 10000); }
};

/// Processes with a word in their command line.
int processes_with(const std::string& word) {
  int found = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const auto line = read_file(entry.path() / "cmdline");
    found += line.find("millrace") != std::string::npos && line.find(word) != std::string::npos;
  }
  return found;
}

bool nodes_are_gone() {
  return wait_until([] { return processes_with(":" + stand_in::port()) == 0; }, 15);
}

} // namespace

TEST_CASE("launch starts a node on each host, runs on all of them, and ends them; the secret is on no command line") {
  const stand_in ssh;
  const tiny_run run({.steps = 8});
  const auto done = run_to_end(ssh.launch(run, "127.0.0.[2-3]"));
  CAPTURE(done.err);
  CHECK(done.status == 0);
  check_each_group_once(run.files(), 8);
  for (const std::string host : {"127.0.0.2", "127.0.0.3"}) {
    CHECK(done.err.find("on " + host + ":" + stand_in::port()) != std::string::npos);
    CHECK(ssh.asked().find(host + " " + program().string() + " node --listen " + host + ":" + stand_in::port()
                           + " --secret-file -\n")
          != std::string::npos);
  }
  CHECK(nodes_are_gone());
}

TEST_CASE("launch that is stopped brings a checkpoint and ends its nodes, and goes on when it is started again") {
  const stand_in ssh;
  const tiny_run run({.steps = 1'000'000});
  running_command running(ssh.launch(run, "127.0.0.2"));
  REQUIRE(reaches(running, run.files(), 5));
  for (const int how : {SIGTERM, SIGKILL}) {
    CAPTURE(how);
    if (how == SIGTERM) {
      running.signal(how);
      CHECK(running.wait(20).status == 3);
    } else {
      const auto steps = run.files().steps();
      running_command again(ssh.launch(run, "127.0.0.2"));
      CHECK(reaches(again, run.files(), steps + 5));
      CHECK(again.err().find("going on from step") != std::string::npos);
      again.signal(how);
      again.wait(20);
    }
    CHECK(nodes_are_gone()); // also of one that is killed
  }
}

TEST_CASE("a host that cannot be reached, or has no millrace, is one line that names it") {
  const tiny_run run;
  const stand_in refuses("[ \"$1\" = 127.0.0.3 ] && exit 255\nexec /bin/sh -c \"$2\"");
  const auto away = run_to_end(refuses.launch(run, "127.0.0.2,127.0.0.3"));
  CHECK(away.status == 1);
  CHECK(away.err.find("millrace: host 127.0.0.3: its node has not started (ssh: exit status 255)\n")
        != std::string::npos);
  CHECK(nodes_are_gone());

  const stand_in runs;
  const auto without = run_to_end(runs.launch(run, "127.0.0.2", {"--program", "/no/millrace"}));
  CHECK(without.status == 1);
  CHECK(without.err.find("millrace: host 127.0.0.2: its node has not started (ssh: exit status 127)\n")
        != std::string::npos);

  const auto nowhere = run_to_end(runs.launch(run, "no.such.host.invalid"));
  CHECK(nowhere.status == 1);
  CHECK(nowhere.err.find("'no.such.host.invalid' is no address and no name") != std::string::npos);
  CHECK(!std::filesystem::exists(run.files().folder()));
}

TEST_CASE("launch of a file whose roles all live here is refused: the hosts would have nothing to do") {
  const tiny_run run;
  const auto refused = run_to_end(stand_in().launch(run, "127.0.0.2", {"--set", "placement.rollout.hosts=[]"}));
  CHECK(refused.status == 1);
  CHECK(refused.err
        == "millrace: " + (run / "tiny.toml").string()
               + ": no role may live on another host, want placement.ROLE.hosts = \"any\" for 2 nodes\n");
}

} // namespace launch_test
