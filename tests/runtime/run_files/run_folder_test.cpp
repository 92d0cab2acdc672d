#include "runtime/run_files/run_folder.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <functional>

namespace run_folder_test {

using namespace millrace;
using namespace millrace::run_files;
using millrace::tests::temporary_folder;

namespace fs = std::filesystem;

namespace {

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const input_error& error) {
    return error.what();
  }
  return "";
}

/// A run as `millrace run` starts it, let go again.
void start_run(const fs::path& path) {
  replace_file(run_folder::create(path).resolved(), "[run]\n");
}

} // namespace

TEST_CASE("a new run makes its folder with its parents and is session 1") {
  const temporary_folder scratch;
  const auto run = run_folder::create(scratch.path() / "runs/a");
  CHECK(run.session() == 1);
  CHECK(run.trace() == scratch.path() / "runs/a/trace.json");
  CHECK(run.trajectories().filename() == "trajectories-1.jsonl.zst");
  CHECK(holder_of_run((replace_file(run.resolved(), ""), run.path())) == ::getpid());
}

TEST_CASE("a folder that already holds a run is refused and the line says how to resume") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "a";
  start_run(path);
  replace_file(path / "status.json", R"({"state": "running", "step": 42, "steps": 60})");
  CHECK(refusal([&] { run_folder::create(path); })
        == path.string() + " already holds a run (42 of 60 steps): resume it with `millrace resume " + path.string()
               + "`, or give another --output");
}

TEST_CASE("a folder with foreign files, and a file, are refused") {
  const temporary_folder scratch;
  replace_file(scratch.path() / "thesis.tex", "x");
  const auto refused = [&](const char* name, const char* why) {
    return refusal([&] { run_folder::create(scratch.path() / name); }).find(why) != std::string::npos;
  };
  CHECK(refused("", "is not empty and holds no run"));
  CHECK(refused("thesis.tex", "is a file"));
  CHECK(refused("thesis.tex/a", "cannot be made"));
}

TEST_CASE("a run that died before it wrote its pipeline leaves a folder that can be used again") {
  const temporary_folder scratch;
  { const auto died = run_folder::create(scratch.path() / "a"); }
  CHECK(run_folder::create(scratch.path() / "a").session() == 1);
}

TEST_CASE("each resume is a session of its own") {
  const temporary_folder scratch;
  start_run(scratch.path() / "a");
  {
    const auto second = run_folder::open(scratch.path() / "a");
    CHECK(second.session() == 2);
    CHECK(second.trace().filename() == "trace-2.json");
    CHECK(second.trajectories().filename() == "trajectories-2.jsonl.zst");
    replace_file(second.trace(), "[\n");
  }
  CHECK(run_folder::open(scratch.path() / "a").session() == 3);
}

TEST_CASE("a session without a trace counts too") {
  const temporary_folder scratch;
  start_run(scratch.path() / "a");
  replace_file(run_folder::open(scratch.path() / "a").trajectories(), "");
  CHECK(run_folder::open(scratch.path() / "a").session() == 3);
}

TEST_CASE("what a session ran can be read after later ones ran something else") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "a";
  start_run(path);
  const auto ran = [&](int session) { return read_file(resolved_of(path, session)); };
  const auto go_on = [&](const char* with) {
    auto run = run_folder::open(path);
    if (with)
      run.change_pipeline(with);
    return run;
  };
  replace_file(go_on(nullptr).trajectories(), "");
  go_on("never began\n");
  replace_file(go_on("third\n").trajectories(), "");
  replace_file(go_on("fourth\n").trajectories(), "");
  CHECK(ran(1) == "[run]\n");
  CHECK(ran(2) == "[run]\n");
  CHECK(ran(3) == "third\n");
  CHECK(ran(4) == "fourth\n");
}

TEST_CASE("what is not a run's folder cannot be resumed or asked for its status") {
  const temporary_folder scratch;
  replace_file(scratch.path() / "file", "");
  CHECK(refusal([&] { run_folder::open(scratch.path() / "none"); }).find("does not exist") != std::string::npos);
  CHECK(refusal([&] { run_folder::open(scratch.path() / "file"); }).find("is not a folder") != std::string::npos);
  CHECK(refusal([&] { holder_of_run(scratch.path()); }).find("no resolved.toml") != std::string::npos);
}

TEST_CASE("a second process in the same folder is refused by name of the first, until that one is killed") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "a";
  start_run(path);
  std::array<int, 2> ready{};
  REQUIRE(::pipe(ready.data()) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    const auto held = run_folder::open(path);
    if (::write(ready[1], "x", 1) == 1)
      ::pause();
    ::_exit(0);
  }
  char byte = 0;
  REQUIRE(::read(ready[0], &byte, 1) == 1);
  CHECK(holder_of_run(path) == child);
  const std::string in_use = "is in use by process " + std::to_string(child);
  CHECK(refusal([&] { run_folder::open(path); }).find(in_use) != std::string::npos);
  CHECK(refusal([&] { run_folder::create(path); }).find(in_use) != std::string::npos);
  ::kill(child, SIGKILL);
  ::waitpid(child, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);
  CHECK_FALSE(holder_of_run(path));
  CHECK(run_folder::open(path).session() == 2);
}

TEST_CASE("a folder that cannot be written is refused") {
  if (::geteuid() == 0) {
    const std::string why = refusal([] { run_folder::create("/proc/millrace"); });
    CHECK(why.find("/proc/millrace cannot be made") == 0);
    return;
  }
  const temporary_folder scratch;
  fs::create_directory(scratch.path() / "a");
  fs::permissions(scratch.path() / "a", fs::perms::owner_read | fs::perms::owner_exec);
  CHECK(refusal([&] { run_folder::create(scratch.path() / "a"); }).find("cannot be written") != std::string::npos);
}

TEST_CASE("a run that ended before its first step leaves its log, and its folder can be given again") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "a";
  start_run(path);
  for (const char* name : {"metrics.jsonl", "log.txt", "status.json", "trace.json"})
    replace_file(path / name, "");
  fs::create_directories(path / "checkpoints/.partial-step-000001");
  forget_unstarted_run(path);
  CHECK(fs::exists(path / "log.txt"));
  CHECK_FALSE(fs::exists(path / "checkpoints"));
  CHECK_NOTHROW(run_folder::create(path));

  start_run(path);
  replace_file(path / "metrics.jsonl", "{\"step\":1}\n");
  forget_unstarted_run(path);
  CHECK(fs::exists(path / "resolved.toml"));
  fs::remove(path / "metrics.jsonl");
  fs::create_directories(path / "checkpoints/step-000001");
  forget_unstarted_run(path);
  CHECK(fs::exists(path / "resolved.toml"));
}

TEST_CASE("the default name takes the first number that is free") {
  const temporary_folder scratch;
  CHECK(default_run_path(scratch.path(), "sum", "2026-11-22") == scratch.path() / "sum-2026-11-22-1");
  fs::create_directory(scratch.path() / "sum-2026-11-22-1");
  CHECK(default_run_path(scratch.path(), "sum", "2026-11-22") == scratch.path() / "sum-2026-11-22-2");
  CHECK(today().size() == 10);
}

} // namespace run_folder_test
