#include "runtime/run_files/checkpoint_store.hpp"
#include "runtime/run_files/manifest.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>

namespace checkpoint_store_test {

using namespace millrace::run_files;
using millrace::tests::temporary_folder;

namespace fs = std::filesystem;
using steps = std::vector<std::int64_t>;

namespace {

std::string content_of(std::int64_t step) {
  return "weights of step " + std::to_string(step);
}

void save(const checkpoint_store& store, std::int64_t step) {
  auto attempt = store.begin(step);
  attempt.write("model/weights.bin", content_of(step));
  attempt.write("state.json", "{}");
  attempt.commit();
}

std::int64_t latest_step(const fs::path& folder) {
  const auto found = latest_checkpoint(folder);
  return found ? found->step : -1;
}

/// Names that are not whole checkpoints.
std::ptrdiff_t leftovers(const fs::path& folder) {
  return std::count_if(fs::directory_iterator(folder), fs::directory_iterator{},
                       [](const auto& entry) { return !entry.path().filename().string().starts_with("step-"); });
}

/// Runs `work` in a child process; the child's exit status, 255 if it threw.
int in_child(const std::function<int()>& work) {
  const pid_t child = ::fork();
  if (child == 0) {
    try {
      ::_exit(work());
    } catch (const std::exception&) {
      ::_exit(255);
    }
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

} // namespace

TEST_CASE("a committed checkpoint is the latest, under its step's name, with its files") {
  const temporary_folder scratch;
  const checkpoint_store store{scratch.path() / "checkpoints", 2};
  CHECK_FALSE(latest_checkpoint(store.folder()));
  save(store, 42);
  const auto found = latest_checkpoint(store.folder());
  REQUIRE(found);
  CHECK(found->step == 42);
  CHECK(found->folder.filename() == "step-000042");
  CHECK(read_file(found->folder / "model/weights.bin") == "weights of step 42");
  CHECK(leftovers(store.folder()) == 0);
}

TEST_CASE("the last k checkpoints are kept") {
  const temporary_folder scratch;
  const checkpoint_store store{scratch.path(), 2};
  for (const int step : {5, 10, 15, 20})
    save(store, step);
  CHECK(checkpoint_steps(scratch.path()) == steps{15, 20});
}

TEST_CASE("a damaged checkpoint does not count among those kept") {
  const temporary_folder scratch;
  const checkpoint_store store{scratch.path(), 2};
  save(store, 5);
  save(store, 10);
  fs::remove(scratch.path() / "step-000010/state.json");
  save(store, 15);
  CHECK(checkpoint_steps(scratch.path()) == steps{5, 10, 15});
  CHECK(latest_step(scratch.path()) == 15);
  save(store, 20);
  CHECK(checkpoint_steps(scratch.path()) == steps{15, 20});
}

TEST_CASE("an attempt that is not committed leaves nothing") {
  const temporary_folder scratch;
  const checkpoint_store store{scratch.path(), 2};
  {
    const auto attempt = store.begin(1);
    attempt.write("a", "b");
    CHECK(leftovers(scratch.path()) == 1);
  }
  CHECK(fs::is_empty(scratch.path()));
}

TEST_CASE("a step that is saved again replaces its checkpoint") {
  const temporary_folder scratch;
  const checkpoint_store store{scratch.path(), 2};
  save(store, 5);
  auto again = store.begin(5);
  again.write("model/weights.bin", "other");
  again.commit();
  CHECK(read_file(latest_checkpoint(scratch.path())->folder / "model/weights.bin") == "other");
  CHECK(leftovers(scratch.path()) == 0);
}

TEST_CASE("a newest checkpoint that is damaged is skipped and named") {
  const temporary_folder scratch;
  const checkpoint_store store{scratch.path(), 3};
  save(store, 1);
  save(store, 2);
  std::vector<std::string> warnings;
  const auto damage_and_look = [&](std::string_view bytes, const char* file) {
    std::ofstream{scratch.path() / "step-000002" / file, std::ios::trunc} << bytes;
    warnings.clear();
    return latest_checkpoint(scratch.path(), [&](const std::string& line) { warnings.push_back(line); })->step;
  };
  CHECK(damage_and_look("weights of step 3", "model/weights.bin") == 1);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].find("step-000002 is damaged and left out: model/weights.bin does not match its hash")
        != std::string::npos);
  CHECK(damage_and_look("weights", "model/weights.bin") == 1);
  CHECK(warnings[0].find("model/weights.bin has 7 bytes, want 17") != std::string::npos);
  CHECK(damage_and_look("", "manifest.json") == 1);
  CHECK(warnings[0].find("manifest.json is damaged") != std::string::npos);
  CHECK(damage_and_look(std::string(100, '['), "manifest.json") == 1);
  fs::remove(scratch.path() / "step-000002/manifest.json");
  CHECK(checkpoint_damage(scratch.path() / "step-000002", depth::sizes) == "manifest.json is missing");
}

TEST_CASE("a flip of any one bit of a checkpoint is found") {
  const temporary_folder scratch;
  const checkpoint_store store{scratch.path(), 2};
  save(store, 7);
  const auto folder = scratch.path() / "step-000007";
  REQUIRE_FALSE(checkpoint_damage(folder, depth::contents));
  int unnoticed = 0;
  for (const char* name : {"model/weights.bin", "state.json", "manifest.json"}) {
    const std::string whole = read_file(folder / name);
    for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
      auto flipped = whole;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
      std::ofstream{folder / name, std::ios::trunc | std::ios::binary} << flipped;
      unnoticed += checkpoint_damage(folder, depth::contents) ? 0 : 1;
    }
    std::ofstream{folder / name, std::ios::trunc | std::ios::binary} << whole;
  }
  CHECK(unnoticed == 0);
  CHECK_FALSE(checkpoint_damage(folder, depth::contents));
}

TEST_CASE("a checkpoint under another step's name does not verify") {
  const temporary_folder scratch;
  const checkpoint_store store{scratch.path(), 2};
  save(store, 7);
  fs::rename(scratch.path() / "step-000007", scratch.path() / "step-000009");
  CHECK(checkpoint_damage(scratch.path() / "step-000009", depth::sizes) == "its manifest is that of step 7");
}

TEST_CASE("names that are no checkpoints are left alone") {
  const temporary_folder scratch;
  for (const char* name : {"step-", "step-x", "step--4", "step-12x", "notes"})
    fs::create_directory(scratch.path() / name);
  const checkpoint_store store{scratch.path(), 1};
  CHECK(checkpoint_steps(scratch.path()).empty());
  save(store, 3);
  CHECK(latest_step(scratch.path()) == 3);
  CHECK(fs::exists(scratch.path() / "step-12x"));
}

TEST_CASE("a process that dies at any point of a commit leaves the old or the new checkpoint, and no litter for long") {
  for (const std::int64_t next : {3, 2}) { // a further step; the same step again
    int points = 0;
    for (int die_at = 0;; ++die_at) {
      const temporary_folder scratch;
      {
        const checkpoint_store store{scratch.path(), 2};
        save(store, 1);
        save(store, 2);
      }
      const int status = in_child([&] {
        int reached = 0;
        const checkpoint_store store{scratch.path(), 1, [&](std::string_view) {
                                       if (reached++ == die_at)
                                         ::_exit(7);
                                     }};
        save(store, next);
        return 0;
      });
      const auto newest = latest_step(scratch.path());
      CHECK((newest == 2 || newest == next));
      CHECK(read_file(latest_checkpoint(scratch.path())->folder / "model/weights.bin") == content_of(newest));
      const checkpoint_store reopened{scratch.path(), 1};
      CHECK(leftovers(scratch.path()) == 0);
      CHECK(latest_step(scratch.path()) == newest);
      if (status == 0) {
        CHECK(newest == next);
        break;
      }
      REQUIRE(status == 7);
      ++points;
    }
    CHECK(points >= 7); // flush, manifest, flush manifest, rename, flush rename, and discard, remove of an old one
  }
}

TEST_CASE("a file that may not grow is one clear line; the old checkpoint stays and the attempt is gone") {
  const temporary_folder scratch;
  {
    const checkpoint_store store{scratch.path(), 2};
    save(store, 1);
  }
  const int status = in_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const checkpoint_store store{scratch.path(), 2};
    try {
      auto attempt = store.begin(2);
      attempt.write("weights.bin", std::string(5000, 'w'));
      attempt.commit();
    } catch (const storage_error& error) {
      const std::string line = error.what();
      const bool clear = line.find("weights.bin: File too large") != std::string::npos;
      return clear && line.find('\n') == std::string::npos ? 3 : 4;
    }
    return 5;
  });
  CHECK(status == 3);
  CHECK(leftovers(scratch.path()) == 0);
  CHECK(latest_step(scratch.path()) == 1);
}

TEST_CASE("a full disk is one clear line; the old checkpoint stays and the attempt is gone") {
  const temporary_folder scratch;
  if (::mount("tmpfs", scratch.path().c_str(), "tmpfs", 0, "size=64k") != 0) {
    MESSAGE("skipped: this process may not mount a tmpfs");
    return;
  }
  {
    const checkpoint_store store{scratch.path() / "checkpoints", 2};
    save(store, 1);
    std::string why;
    try {
      const auto attempt = store.begin(2);
      attempt.write("weights.bin", std::string(100'000, 'w'));
    } catch (const storage_error& error) {
      why = error.what();
    }
    CHECK(why.find("weights.bin: No space left on device") != std::string::npos);
    CHECK(leftovers(store.folder()) == 0);
    CHECK(latest_step(store.folder()) == 1);
    const auto line = checkpoint_failure(store.folder(), 2, why);
    CHECK(line.find("checkpoint of step 2 was not written: cannot write ") == 0);
    CHECK(line.find(" KB free in ") != std::string::npos);
    CHECK(line.find("; that of step 1 is kept") != std::string::npos);
    save(store, 3);
    CHECK(latest_step(store.folder()) == 3);
  }
  ::umount(scratch.path().c_str());
}

TEST_CASE("a file without bytes is no part of a checkpoint: its writer failed") {
  const temporary_folder scratch;
  const checkpoint_store store(scratch.path(), 2);
  save(store, 1);
  auto attempt = store.begin(2);
  attempt.write("version", "");
  CHECK_THROWS_AS(attempt.commit(), storage_error);
  CHECK(latest_step(scratch.path()) == 1);
}

TEST_CASE("the newest checkpoint before a step") {
  const temporary_folder scratch;
  const checkpoint_store store(scratch.path(), 3);
  for (const std::int64_t step : {1, 4, 6})
    save(store, step);
  CHECK(latest_checkpoint(scratch.path())->step == 6);
  CHECK(latest_checkpoint(scratch.path(), {}, 6)->step == 4);
  CHECK(latest_checkpoint(scratch.path(), {}, 2)->step == 1);
  CHECK(!latest_checkpoint(scratch.path(), {}, 1));
}

} // namespace checkpoint_store_test
