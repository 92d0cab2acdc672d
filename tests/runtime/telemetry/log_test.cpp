#include "runtime/telemetry/log.hpp"
#include "runtime/telemetry/progress.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <map>
#include <sstream>
#include <thread>

namespace log_test {

using namespace millrace;
using namespace millrace::telemetry;
using millrace::tests::temporary_folder;

namespace {

/// Where a logger writes: a file, or the far side of a pseudo-terminal.
class reader {
public:
  explicit reader(bool terminal) {
    if (terminal) {
      near_ = run_files::descriptor{::posix_openpt(O_RDWR | O_NOCTTY)};
      REQUIRE(::grantpt(near_.get()) == 0);
      REQUIRE(::unlockpt(near_.get()) == 0);
      std::array<char, 64> name{};
      REQUIRE(::ptsname_r(near_.get(), name.data(), name.size()) == 0);
      far_ = run_files::descriptor{::open(name.data(), O_RDWR | O_NOCTTY)};
    } else {
      std::array<int, 2> ends{};
      REQUIRE(::pipe(ends.data()) == 0);
      near_ = run_files::descriptor{ends[0]};
      far_ = run_files::descriptor{ends[1]};
    }
    ::fcntl(near_.get(), F_SETFL, O_NONBLOCK);
  }

  int writer() const { return far_.get(); }

  std::string text() const {
    std::array<char, 4096> bytes{};
    const auto got = ::read(near_.get(), bytes.data(), bytes.size());
    return {bytes.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))};
  }

private:
  run_files::descriptor near_;
  run_files::descriptor far_;
};

/// An environment variable for as long as this lives.
class set_variable {
public:
  set_variable(const char* name, const char* value) : name_(name) {
    const char* before = std::getenv(name);
    before_ = before ? before : "";
    ::setenv(name, value, 1);
  }

  ~set_variable() {
    if (before_.empty())
      ::unsetenv(name_);
    else
      ::setenv(name_, before_.c_str(), 1);
  }

  set_variable(const set_variable&) = delete;
  set_variable& operator=(const set_variable&) = delete;

private:
  const char* name_;
  std::string before_;
};

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream in{text};
  for (std::string line; std::getline(in, line);)
    lines.push_back(line);
  return lines;
}

/// What follows the time, which takes the first ten characters of a line; "" if there is no time.
std::string after_time(const std::string& line) {
  const auto digits = line.find_first_not_of(' ');
  const bool timed = line.size() > 11 && line.find_first_not_of("0123456789.", digits) == 10 && line[6] == '.';
  return timed ? line.substr(11) : "";
}

progress progress_at(std::int64_t step) {
  return {step, 60, 0.41, 1834, 0.8, 200, ""};
}

} // namespace

TEST_CASE("a warning has a colour on a terminal only, and none where NO_COLOR is set") {
  const auto written = [](bool terminal) {
    const reader people(terminal);
    logger log(people.writer());
    log.write(level::warning, "run", "slow");
    log.write(level::error, "run", "gone");
    log.write(level::info, "run", "on");
    return people.text();
  };
  const set_variable term("TERM", "xterm");
  {
    const set_variable none("NO_COLOR", "");
    CHECK(written(true).find("\x1b[33mwarning\x1b[0m run") != std::string::npos);
    CHECK(written(true).find("\x1b[31merror  \x1b[0m run") != std::string::npos);
    CHECK(written(true).find(" info    run") != std::string::npos);
    CHECK(written(false).find("\x1b[") == std::string::npos);
    const set_variable dumb("TERM", "dumb");
    CHECK(written(true).find("\x1b[3") == std::string::npos);
  }
  const set_variable no_colour("NO_COLOR", "1");
  CHECK(written(true).find("\x1b[3") == std::string::npos);
}

TEST_CASE("an event is a line with time, level, role and text, on both sides") {
  const temporary_folder scratch;
  const reader people{false};
  logger log{people.writer()};
  log.open(scratch.path() / "log.txt");
  log.write(level::warning, "rollout/1", "process 4711 is gone");
  const auto line = people.text();
  CHECK(after_time(line) == "warning rollout/1    process 4711 is gone\n");
  CHECK(run_files::read_file(scratch.path() / "log.txt") == line);
}

TEST_CASE("what is below the shown level goes to the file only") {
  const temporary_folder scratch;
  const reader people{false};
  logger log{people.writer()};
  log.open(scratch.path() / "log.txt");
  log.write(level::debug, "a", "detail");
  CHECK(people.text().empty());
  CHECK(run_files::read_file(scratch.path() / "log.txt").find("detail") != std::string::npos);
  log.show_from(level::debug);
  log.write(level::debug, "a", "more");
  CHECK(people.text().find("more") != std::string::npos);
}

TEST_CASE("a text cannot forge a line or drive the terminal") {
  const reader people{false};
  logger log{people.writer()};
  log.write(level::info, "rules", "a\n      9.999 error   learner      lies\r\x1b[2J\t\x7f");
  const auto lines = lines_of(people.text());
  REQUIRE(lines.size() == 2);
  CHECK(after_time(lines[0]) == "info    rules        a");
  CHECK(after_time(lines[1]) == "info    rules              9.999 error   learner      lies\\x0d\\x1b[2J\\x09\\x7f");
}

TEST_CASE("lines of many threads are never mixed") {
  const temporary_folder scratch;
  logger log{-1};
  log.open(scratch.path() / "log.txt");
  {
    std::vector<std::jthread> threads;
    for (int thread = 0; thread < 8; ++thread)
      threads.emplace_back([&log, thread] {
        for (int i = 0; i < 200; ++i)
          log.write(level::info, std::to_string(thread), std::string(50, static_cast<char>('a' + thread)));
      });
  }
  const auto lines = lines_of(run_files::read_file(scratch.path() / "log.txt"));
  CHECK(lines.size() == 1600);
  std::map<std::string, int> seen;
  for (const auto& line : lines)
    ++seen[after_time(line)];
  REQUIRE(seen.size() == 8);
  for (int thread = 0; thread < 8; ++thread) {
    const std::string text(50, static_cast<char>('a' + thread));
    CHECK(seen["info    " + std::to_string(thread) + std::string(12, ' ') + text] == 200);
  }
}

TEST_CASE("a full disk does not stop the log: people are told once") {
  const temporary_folder scratch;
  const reader people{false};
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100, 100};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    logger log{people.writer()};
    log.open(scratch.path() / "log.txt");
    for (int i = 0; i < 5; ++i)
      log.write(level::info, "a", std::string(40, 'x'));
    ::_exit(0);
  }
  ::waitpid(child, nullptr, 0);
  const auto lines = lines_of(people.text());
  REQUIRE(lines.size() == 6);
  CHECK(lines[2].find("log.txt: File too large: the lines are kept until there is room") != std::string::npos);
}

TEST_CASE("on a terminal the live line is drawn over in place and stays below the log") {
  const reader people{true};
  logger log{people.writer()};
  CHECK(log.on_terminal());
  log.live_line("step 1/60");
  CHECK(people.text() == "\r\x1b[Kstep 1/60");
  log.write(level::info, "learner", "hello");
  const auto text = people.text();
  CHECK(text.starts_with("\r\x1b[K"));
  CHECK(text.ends_with("hello\r\nstep 1/60"));
  log.live_line("");
  CHECK(people.text() == "\r\x1b[K");
}

TEST_CASE("a live line never wraps, and is nothing where there is no terminal") {
  const reader people{true};
  logger log{people.writer()};
  log.live_line(std::string(500, 'x'));
  CHECK(people.text() == "\r\x1b[K" + std::string(79, 'x'));
  const reader file{false};
  logger plain{file.writer()};
  plain.live_line("step 1");
  CHECK(file.text().empty());
}

TEST_CASE("without a terminal progress is a line a step, not more often than asked, and always the last") {
  const reader people{false};
  logger log{people.writer()};
  progress_line line{log, 5};
  line.show(progress_at(1), 0);
  line.show(progress_at(1), 6);
  line.show(progress_at(2), 4);
  line.show(progress_at(3), 5);
  line.show(progress_at(59), 6);
  line.show(progress_at(60), 7);
  line.show(progress_at(60), 8);
  CHECK(people.text()
        == "step 1/60  reward 0.410  1834 tokens/s  staleness 0.8  3:20 left\n"
           "step 3/60  reward 0.410  1834 tokens/s  staleness 0.8  3:20 left\n"
           "step 60/60  reward 0.410  1834 tokens/s  staleness 0.8\n");
}

TEST_CASE("before the first step progress says what goes on") {
  CHECK(in_words(progress{0, 60, std::nan(""), 0, 0, -1, "loading weights"}) == "step 0/60  loading weights");
  CHECK(in_words(progress{0, 60, std::nan(""), 900, 0, -1, ""}) == "step 0/60  900 tokens/s");
}

TEST_CASE("times are short") {
  CHECK(in_time(48.4) == "48 s");
  CHECK(in_time(59.6) == "1:00");
  CHECK(in_time(200) == "3:20");
  CHECK(in_time(7500) == "2:05:00");
  CHECK(in_time(-3) == "0 s");
}

TEST_CASE("the time left follows the usual step, not the slow one") {
  time_left left;
  CHECK(left.seconds(10) < 0);
  left.step_done(30);
  CHECK(left.seconds(10) < 0);
  left.step_done(32);
  CHECK(left.seconds(10) == doctest::Approx(20));
  double at = 32;
  for (int i = 0; i < 30; ++i)
    left.step_done(at += i == 29 ? 100 : 2);
  CHECK(left.seconds(10) == doctest::Approx(20));
}

} // namespace log_test
