#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <csignal>

namespace watch_test {

using namespace millrace::tests;
namespace fs = std::filesystem;

namespace {

/// The address that the program printed; "" while it has not.
std::string address_in(const std::string& words) {
  const std::string before = "watch it at ";
  const auto at = words.find(before);
  const auto end = words.find('\n', at);
  if (at == std::string::npos || end == std::string::npos)
    return "";
  return words.substr(at + before.size(), end - at - before.size());
}

std::string fetched(const std::string& url) {
  return run_to_end({"/usr/bin/env", "python3", "-c",
                     "import sys, urllib.request\n"
                     "print(urllib.request.urlopen(sys.argv[1], timeout=10).read().decode())",
                     url})
      .out;
}

int charts_in(const std::string& html) {
  int found = 0;
  for (auto at = html.find("<figcaption>"); at != std::string::npos; at = html.find("<figcaption>", at + 1))
    ++found;
  return found;
}

} // namespace

TEST_CASE("a run is watched where --listen says, and its learning is the same bit for bit") {
  const tiny_run alone({.steps = 40}), watched({.steps = 40});
  CHECK(run_to_end(alone.start()).status == 0);
  running_command running(watched.start({"--listen", "127.0.0.1:0"}));
  REQUIRE(reaches(running, watched.files(), 2));
  const auto url = address_in(running.err());
  REQUIRE(url.starts_with("http://127.0.0.1:"));
  const auto metrics = fetched(url + "metrics");
  CHECK((running.ended() || metrics.find("millrace_steps_planned 40\n") != std::string::npos));
  CHECK(running.wait().status == 0);
  CHECK(watched.files().learning_curve() == alone.files().learning_curve());
}

TEST_CASE("view shows a finished run, in a browser with every chart and no error on its console") {
  const tiny_run run({.steps = 6});
  const strings all{"--set", "roles.learner.skip_flat_groups=false"}; // what is not computed has no ratio
  REQUIRE(run_to_end(run.start(all)).status == 0);
  running_command view(command_line({"view", (run / "run").string(), "--listen", "127.0.0.1:0"}));
  REQUIRE(wait_until([&] { return !address_in(view.err()).empty() || view.ended(); }));
  const auto url = address_in(view.err());
  const auto html = fetched(url);
  CHECK(html.find(">finished</span>") != std::string::npos);
  CHECK(charts_in(html) == 10);
  CHECK(html.find(", ratio 1.0") != std::string::npos); // a token of the newest groups, of a synchronous run
  CHECK(fetched(url + "graph.svg").find("learner") != std::string::npos);
  CHECK(html.find("<img alt=\"The graph of roles\" src=\"data:image/svg+xml,") != std::string::npos);
  const std::string browser = "/usr/bin/chromium-headless-shell";
  if (!fs::exists(browser))
    MESSAGE("no browser: skipped (Debian's package chromium-headless-shell)");
  else {
    const auto shown = run_to_end({browser, "--no-sandbox", "--enable-logging=stderr", "--timeout=3000",
                                   "--user-data-dir=" + (run / "browser").string(), "--dump-dom", url},
                                  60);
    CHECK(charts_in(shown.out) == 10);
    const auto script_ran = [&](const std::string& word) {
      return shown.out.find("<div id=\"link\">" + word + "</div>") != std::string::npos;
    };
    CHECK((script_ran("connecting") || script_ran("live")));
    CAPTURE(shown.err);
    CHECK(shown.err.find("CONSOLE") == std::string::npos);
  }
  view.signal(SIGINT);
  CHECK(view.wait(5).status == 0);
}

TEST_CASE("check refuses to listen for others without a token, and an address that is none") {
  const tiny_run run;
  const auto open = run_to_end(run.check({"--set", "run.listen=\"0.0.0.0:7070\""}));
  CHECK(open.status != 0);
  CHECK(open.err.find("without run.listen_token_file, want a token where others can connect") != std::string::npos);
  const auto wrong = run_to_end(run.start({"--listen", "everywhere"}));
  CHECK(wrong.status != 0);
  CHECK(wrong.err.find("run.listen: found \"everywhere\", want an IP address and a port") != std::string::npos);
  CHECK_FALSE(fs::exists(run / "run"));
}

} // namespace watch_test
