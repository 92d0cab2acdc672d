#include "runtime/run_files/checkpoint_store.hpp"
#include "runtime/telemetry/best_checkpoint.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <set>

namespace best_checkpoint_test {

using namespace millrace;
using namespace millrace::telemetry;
using millrace::tests::temporary_folder;

namespace {

namespace fs = std::filesystem;

metric_row row_of(std::int64_t step, std::string_view name, double value) {
  metric_row row;
  row.step = step;
  row.set(name, value);
  return row;
}

/// One checkpoint is kept, so that what `best` holds must outlive it.
struct checkpoints {
  temporary_folder scratch;
  run_files::checkpoint_store store{scratch.path() / "checkpoints", 1};

  fs::path write(std::int64_t step) {
    auto attempt = store.begin(step);
    attempt.write("model/weights", "weights of step " + std::to_string(step));
    return attempt.commit();
  }

  std::string best() const {
    const auto file = store.folder() / "best/model/weights";
    return fs::exists(file) ? run_files::read_file(file) : "";
  }

  std::set<std::string> entries() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(store.folder()))
      names.insert(entry.path().filename().string());
    return names;
  }
};

} // namespace

TEST_CASE("the checkpoint since which the mean of a step's figure was best is kept, however many follow") {
  checkpoints all;
  best_checkpoint best(all.store.folder(), "reward", true);
  for (const auto& [step, reward] : {std::pair{1, 0.1}, {2, 0.3}, {3, 0.9}, {4, 0.5}, {5, 0.6}, {6, 0.4}}) {
    best.seen(row_of(step, "reward", reward)); // means of two: 0.2, 0.7, 0.5
    if (step % 2 == 0)
      best.stored(step, all.write(step));
  }
  CHECK(best.step() == 4);
  CHECK(all.best() == "weights of step 4");
  CHECK(all.entries() == std::set<std::string>{"best", "step-000006"});
  CHECK(run_files::read_file(best.folder() / "best.json") == "{\"metric\":\"reward\",\"step\":4,\"value\":0.7}\n");
}

TEST_CASE("figures of steps that were trained while the checkpoint was written are the next one's") {
  checkpoints all;
  best_checkpoint best(all.store.folder(), "reward", true);
  best.seen(row_of(1, "reward", 0.1));
  best.seen(row_of(2, "reward", 0.9)); // trained before checkpoint 1 was there
  best.stored(1, all.write(1));
  CHECK(run_files::read_file(best.folder() / "best.json") == "{\"metric\":\"reward\",\"step\":1,\"value\":0.1}\n");
  best.stored(2, all.write(2));
  CHECK(best.step() == 2);
}

TEST_CASE("a figure of an evaluation may come after its checkpoint is gone, and before it is there") {
  checkpoints all;
  const auto name = metric::evaluation("held_out", "pass@1");
  best_checkpoint best(all.store.folder(), name, true);
  best.stored(2, all.write(2));
  best.stored(4, all.write(4)); // that of step 2 is pruned
  best.seen(row_of(2, name, 0.5));
  CHECK(all.best() == "weights of step 2");
  best.seen(row_of(4, name, 0.25));
  CHECK(all.best() == "weights of step 2");
  best.seen(row_of(6, name, 0.75));
  best.stored(6, all.write(6));
  CHECK(all.best() == "weights of step 6");
  best.stored(8, all.write(8)); // its evaluation never ends
  best.finish();
  CHECK(all.entries() == std::set<std::string>{"best", "step-000008"});
}

TEST_CASE("a run that goes on remembers what was best, and lowest can be best") {
  checkpoints all;
  {
    best_checkpoint best(all.store.folder(), "actor/kl_loss", false);
    best.seen(row_of(2, "actor/kl_loss", 0.5));
    best.stored(2, all.write(2));
  }
  best_checkpoint best(all.store.folder(), "actor/kl_loss", false);
  CHECK(best.step() == 2);
  best.seen(row_of(4, "actor/kl_loss", 0.6));
  best.stored(4, all.write(4));
  CHECK(all.best() == "weights of step 2");
  best.seen(row_of(6, "actor/kl_loss", 0.1));
  best.stored(6, all.write(6));
  CHECK(all.best() == "weights of step 6");
}

TEST_CASE("without a metric nothing is kept") {
  checkpoints all;
  best_checkpoint best(all.store.folder(), "", true);
  best.seen(row_of(2, "reward", 1));
  best.stored(2, all.write(2));
  CHECK_FALSE(best.step());
  CHECK(all.entries() == std::set<std::string>{"step-000002"});
}

} // namespace best_checkpoint_test
