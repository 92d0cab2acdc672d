#include "runtime/run_files/step_lines.hpp"
#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>
#include <sys/mount.h>

#include <algorithm>

namespace full_disk_test {

/// Runs whose disk is full for a while: they train on, wait for room with the last checkpoint, and lose nothing.

using namespace millrace::tests;

namespace {

/// A disk of its own, where this user may mount one.
class small_disk {
public:
  explicit small_disk(const char* size)
      : mounted_(::mount("tmpfs", folder_.path().c_str(), "tmpfs", 0, ("size=" + std::string(size)).c_str()) == 0) {}

  ~small_disk() {
    if (mounted_)
      ::umount2(folder_.path().c_str(), MNT_DETACH);
  }

  small_disk(const small_disk&) = delete;
  small_disk& operator=(const small_disk&) = delete;

  bool mounted() const { return mounted_; }

  const std::filesystem::path& path() const { return folder_.path(); }

  void resize(const char* size) const {
    REQUIRE(::mount("tmpfs", folder_.path().c_str(), "tmpfs", MS_REMOUNT, ("size=" + std::string(size)).c_str()) == 0);
  }

private:
  temporary_folder folder_;
  bool mounted_;
};

std::size_t count_of(const std::string& text, std::string_view words) {
  std::size_t count = 0;
  for (auto at = text.find(words); at != std::string::npos; at = text.find(words, at + 1))
    ++count;
  return count;
}

} // namespace

TEST_CASE("a full disk is waited for: the run trains to its end, says it once, and saves once there is room") {
  constexpr int steps = 40;
  for (const char* size : {"150k", "900k"})
    for (const bool placed : {false, true}) {
      CAPTURE(size);
      CAPTURE(placed);
      const small_disk disk(size);
      if (!disk.mounted()) {
        MESSAGE("SKIPPED: this user may not mount a disk");
        return;
      }
      const run_on_disk files(disk.path() / "run");
      const temporary_folder folder;
      write_file(folder / "tiny.toml", text_of({.steps = steps, .run = "checkpoint_every = 3\n"}));
      strings command{"run", (folder / "tiny.toml").string(), "--output", files.folder().string()};
      if (placed)
        for (const auto& word : placed_apart(false))
          command.push_back(word);
      running_command running(command_line(command));
      const bool waits = wait_until([&] {
        return running.err().find("a second Ctrl-C ends it without") != std::string::npos
               || running.err().find("step 40/40") != std::string::npos || running.ended();
      });
      CAPTURE(running.err());
      REQUIRE(waits);
      REQUIRE_FALSE(running.ended().has_value());
      disk.resize("60m");
      CHECK(running.wait().status == 0);
      CHECK(count_of(running.err(), "was not written") == 1);
      CHECK(count_of(running.err(), "checkpoints are written again") == 1);
      CHECK(files.status().at("state") == "finished");
      CHECK(files.status().at("checkpoint_step") == steps);
      CHECK(files.steps() == steps);
      CHECK(millrace::run_files::read_step_lines(files.folder() / "replay.jsonl").size() == steps);
      check_each_group_once(files, steps);
      CHECK(files.log().find("checkpoint of step 40 in") != std::string::npos);
    }
}

} // namespace full_disk_test
