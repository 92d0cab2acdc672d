#include "runtime/schedule/presets.hpp"
#include "runtime/schedule/saved_state.hpp"
#include "tests/chaos/chaos.hpp"
#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <sstream>

namespace ended_by_data_test {

/// Runs whose source ends by itself: nothing that was trained is lost, and nothing is trained too often.

using namespace millrace;
using namespace millrace::tests;

namespace {

enum class training { reinforced, supervised, preferences };

const char* name_of(training how) {
  return how == training::reinforced ? "RL" : how == training::supervised ? "SFT" : "DPO";
}

struct sweep_point {
  std::string preset;
  training how = training::reinforced;
  int epochs = 1;
  int rows = 1;
};

std::string rows_of(const sweep_point& point) {
  std::string text;
  for (int i = 0; i < point.rows; ++i) {
    const std::string question = "What is " + std::to_string(i) + " plus 1?";
    nlohmann::json row{{"prompt", {{{"role", "user"}, {"content", question}}}}};
    const auto said = [](const std::string& words) {
      return nlohmann::json::array({{{"role", "assistant"}, {"content", words}}});
    };
    if (point.how == training::reinforced)
      row["answer"] = "1";
    else if (point.how == training::supervised)
      row["completion"] = said(std::to_string(i + 1));
    else
      row.update({{"chosen", said("yes " + std::to_string(i))}, {"rejected", said("no")}});
    text += row.dump() + '\n';
  }
  return text;
}

std::string pipeline_of(const sweep_point& point) {
  const std::string source = "file = \"rows.jsonl\"\nshuffle = false\nepochs = " + std::to_string(point.epochs);
  if (point.how == training::reinforced)
    return text_of({.steps = 100, .preset = point.preset, .max_new_tokens = 12, .source = source});
  const bool supervised = point.how == training::supervised;
  std::ostringstream text;
  text << "[run]\nname = \"tiny\"\nseed = 7\nsteps = 100\n[models.tiny]\npath = \"" << tiny_model().string() << "\"\n"
       << "[roles.rows]\nkind = \"source\"\n"
       << source << "\n[roles.answers]\nkind = \"demonstrations\"\nfrom = [\"rows\"]\nmodel = \"tiny\"\n";
  if (!supervised)
    text << "form = \"preference\"\n[roles.frozen]\nkind = \"reference\"\nfrom = [\"answers\"]\nmodel = \"tiny\"\n";
  text << "[roles.learner]\nkind = \"policy\"\nfrom = [\"answers\"" << (supervised ? "" : ", \"frozen\"")
       << "]\nmodel = \"tiny\"\nalgorithm = \"" << (supervised ? "sft" : "dpo")
       << "\"\noptimizer = { lr = 0.01 }\n[schedule]\npreset = \"" << point.preset
       << "\"\ngroups_per_step = " << groups_per_step << '\n';
  return text.str();
}

/// The schedule as the run's last checkpoint has it.
schedule::saved_state last_state(const run_on_disk& files) {
  std::vector<std::filesystem::path> checkpoints;
  for (const auto& entry : std::filesystem::directory_iterator(files.folder() / "checkpoints"))
    checkpoints.push_back(entry.path());
  REQUIRE_FALSE(checkpoints.empty());
  return schedule::read_saved_state(
      read_file(*std::max_element(checkpoints.begin(), checkpoints.end()) / "scheduler.txt"));
}

/// Every prompt of every epoch was trained in one step, or dropped.
void check_books(const run_on_disk& files, const sweep_point& point) {
  const auto prompts = point.epochs * point.rows;
  std::map<std::uint64_t, int> times;
  for (const auto& [step, groups] : files.trained_groups())
    for (const auto group : groups)
      ++times[group];
  for (const auto& [group, count] : times) {
    CHECK(group < static_cast<std::uint64_t>(prompts));
    CHECK(count == 1);
  }
  const auto state = last_state(files);
  std::int64_t dropped = 0;
  for (const auto& account : state.books.dropped)
    dropped += account.groups;
  const auto beyond = state.books.dropped[static_cast<std::size_t>(schedule::drop_reason::unneeded)].groups;
  CHECK(state.groups.empty());
  CHECK(state.books.trained.groups == static_cast<std::int64_t>(times.size()));
  CHECK(state.books.admitted == prompts + beyond);
  CHECK(state.books.trained.groups + dropped - beyond == prompts);
  const bool drops = state.settings.stale.action == schedule::stale_action::drop
                     || state.settings.tail.surplus == schedule::tail_surplus::discard;
  if (!drops)
    CHECK(state.books.trained.groups == prompts);
}

/// What the two commands of a point ended with.
struct exits {
  int run = -1;
  int resume = -1;
};

exits run_to_the_end_of_its_data(const sweep_point& point) {
  CAPTURE(point.preset);
  CAPTURE(static_cast<int>(point.how));
  CAPTURE(point.epochs);
  CAPTURE(point.rows);
  const temporary_folder folder;
  write_file(folder / "rows.jsonl", rows_of(point));
  write_file(folder / "tiny.toml", pipeline_of(point));
  const run_on_disk files(folder / "run");
  const auto done =
      run_to_end(command_line({"run", (folder / "tiny.toml").string(), "--output", files.folder().string()}), 60);
  CAPTURE(done.err);
  CHECK(done.status == 0);
  if (done.status != 0)
    return {.run = done.status};
  CHECK(files.status().at("state") == "finished");
  CHECK(files.status().at("checkpoint_step") == files.steps());
  check_books(files, point);
  const auto said = "the data has ended, after " + std::to_string(files.steps()) + " of 100 steps";
  CHECK(done.err.find(said) != std::string::npos);

  const auto curve = files.learning_curve();
  const auto again = run_to_end(command_line({"resume", files.folder().string()}), 60);
  CAPTURE(again.err);
  CHECK(again.status == 0);
  CHECK(again.err.find("tiny: finished") != std::string::npos);
  CHECK(again.err.find("its data or run.stop_when ended it") != std::string::npos);
  CHECK(files.learning_curve() == curve);
  return {.run = done.status, .resume = again.status};
}

/// Whether `check` takes the schedule with this kind of training.
bool is_possible(const sweep_point& point) {
  const temporary_folder folder;
  write_file(folder / "rows.jsonl", rows_of(point));
  write_file(folder / "tiny.toml", pipeline_of(point));
  return run_to_end(command_line({"check", (folder / "tiny.toml").string()})).status == 0;
}

} // namespace

TEST_CASE("a run that its data ends trains every row as often as asked, saves, exits with 0, and resume says so") {
  const auto presets = schedule::preset_names();
  REQUIRE(presets.size() >= 16);
  if (!long_sweep()) {
    int turn = 0;
    for (const auto& preset : presets) {
      ++turn;
      run_to_the_end_of_its_data({.preset = preset, .epochs = 1 + turn % 3, .rows = 1 + 5 * turn % 12});
    }
    for (const auto how : {training::supervised, training::preferences})
      for (const int rows : {1, 4, 6})
        run_to_the_end_of_its_data({.preset = "synchronous", .how = how, .epochs = 2, .rows = rows});
    return;
  }
  int runs = 0;
  for (const auto& preset : presets)
    for (const auto how : {training::reinforced, training::supervised, training::preferences}) {
      if (!is_possible({.preset = preset, .how = how}))
        continue;
      for (int epochs = 1; epochs <= 3; ++epochs)
        for (int rows = 1; rows <= 12; ++rows, ++runs) {
          const auto ended = run_to_the_end_of_its_data({.preset = preset, .how = how, .epochs = epochs, .rows = rows});
          std::cout << preset << ' ' << name_of(how) << ", epochs " << epochs << ", rows " << rows << ": run "
                    << ended.run << ", resume " << ended.resume << std::endl;
        }
    }
  MESSAGE(runs << " runs");
}

} // namespace ended_by_data_test
