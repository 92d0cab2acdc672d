#include "runtime/watch/run_reader.hpp"
#include "tests/runtime/watch/watched_example.hpp"

#include <doctest/doctest.h>

namespace run_reader_test {

using namespace millrace;
using namespace millrace::watch;
using namespace millrace::tests;

TEST_CASE("a reader tells what the records say, and then what is new in them") {
  const temporary_folder folder;
  write_watched_run(folder.path());
  run_reader reader([&] { return folder.path(); });
  reader.poll();
  const auto& view = reader.view();
  REQUIRE(view.status);
  CHECK(view.status->step == 2);
  CHECK(view.curves.at("reward").points() == std::vector<std::pair<double, double>>{{1, 0.25}, {2, 0.5}});
  CHECK(view.groups.size() == 2);
  CHECK(view.marked.size() == 1);
  REQUIRE(view.failures.size() == 2); // the torn line is none yet
  CHECK(view.failures.front().find("broken") != std::string::npos);

  const auto before = view.metric_changes;
  const auto others = view.status_changes + view.group_changes + view.failure_changes;
  reader.poll();
  CHECK(view.metric_changes == before);
  append_step(folder.path(), 3);
  reader.poll();
  CHECK(view.metric_changes == before + 1);
  CHECK(view.status_changes + view.group_changes + view.failure_changes == others);
  CHECK(view.curves.at("reward").points().size() == 3);
  CHECK(view.staleness.count() == 120);
}

TEST_CASE("the newest groups are those of the file as it is now") {
  const temporary_folder folder;
  write_watched_run(folder.path());
  run_reader reader([&] { return folder.path(); });
  reader.poll();
  const auto before = reader.view().group_changes;
  reader.poll();
  CHECK(reader.view().group_changes == before);
  write_file(folder / "newest_groups.jsonl", "{\"step\":3}\n{\"step\":4}\n{\"st");
  reader.poll();
  CHECK(reader.view().group_changes == before + 1);
  CHECK(reader.view().marked == std::vector<std::string>{"{\"step\":3}", "{\"step\":4}"});
}

TEST_CASE("steps that a resume takes back are counted once") {
  const temporary_folder folder;
  write_watched_run(folder.path());
  run_reader reader([&] { return folder.path(); });
  reader.poll();
  { const telemetry::metrics_file cut(folder / "metrics.jsonl", 1); }
  reader.poll();
  append_step(folder.path(), 2);
  reader.poll();
  CHECK(reader.view().staleness.count() == 80);
  CHECK(reader.view().curves.at("reward").points().size() == 2);
}

TEST_CASE("where no stage has begun there is nothing, and a new folder is another run") {
  const temporary_folder folder, other;
  write_watched_run(folder.path());
  std::filesystem::path current;
  run_reader reader([&] { return current; });
  reader.poll();
  CHECK_FALSE(reader.view().status);
  current = folder.path();
  reader.poll();
  CHECK(reader.view().status);
  current = other.path();
  reader.poll();
  CHECK_FALSE(reader.view().status);
  CHECK(reader.view().curves.empty());
}

} // namespace run_reader_test
