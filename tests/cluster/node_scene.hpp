#pragma once

#include "tests/support/two_hosts.hpp"
#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <csignal>

namespace node_test {

using namespace millrace::tests;

inline bool says(const running_command& command, const std::string& text) {
  return command.err().find(text) != std::string::npos;
}

inline bool comes_to_say(running_command& command, const std::string& text, double deadline_s = 20) {
  return wait_until([&] { return says(command, text) || command.ended(); }, deadline_s) && says(command, text);
}

inline constexpr int endless = 1'000'000;

/// Two hosts, of which the far one runs `millrace node`, and a run for the near one that places its rollout there.
struct scene {
  static constexpr const char* node_name = "10.99.0.2:7000";

  temporary_folder folder;
  two_hosts hosts;
  tiny_run run;

  explicit scene(const tiny_pipeline& pipeline = {}) : run(pipeline) {
    write_secret("secret", 's');
    write_secret("other", 'o');
  }

  strings node(const std::string& secret = "secret", const std::string& name = node_name) const {
    return hosts.far(command_line({"node", "--listen", name, "--secret-file", (folder / secret).string()}));
  }

  strings start(const strings& more = {}, const std::string& secret = "secret") const {
    strings placement{"--set", std::string("placement.rollout.hosts=[\"") + node_name + "\"]", "--set",
                      "placement.secret_file=" + (folder / secret).string()};
    placement.insert(placement.end(), more.begin(), more.end());
    return hosts.near(run.start(placement));
  }

  bool trains_on(running_command& running, std::size_t steps) const {
    const auto wanted = run.files().steps() + steps;
    const bool done = reaches(running, run.files(), wanted);
    if (!done)
      MESSAGE("no step " << wanted << "; the run says:\n" << running.err());
    return done;
  }

private:
  void write_secret(const std::string& name, char letter) const {
    write_file(folder / name, std::string(32, letter));
    chmod((folder / name).c_str(), 0600);
  }
};

/// Ends a run as Ctrl-C does, and checks that it ends well.
inline void stop(running_command& running) {
  running.signal(SIGINT);
  const auto end = running.wait(20);
  CAPTURE(running.err());
  CHECK(end.status == 3);
}

} // namespace node_test
