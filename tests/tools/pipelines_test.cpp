#include "runtime/run_files/manifest.hpp"
#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <set>

namespace pipelines_test {

using namespace millrace::tests;

namespace {

constexpr int steps = 2;

/// The tiny model in the place of the real one, and short answers.
strings made_tiny(const std::filesystem::path& file, const std::filesystem::path& rows) {
  strings sets{"--set", "models.smol.path=" + tiny_model().string(),
               "--set", "run.steps=" + std::to_string(steps),
               "--set", "roles.rollout.max_new_tokens=8"};
  if (file.stem().string().starts_with("gsm8k"))
    sets.insert(sets.end(), {"--set", "roles.questions.file=" + rows.string()});
  if (file.stem() == "gsm8k")
    sets.insert(sets.end(), {"--set", "roles.learner.optimizer.warmup_steps=1"});
  if (file.stem() == "arithmetic_held_out")
    sets.insert(sets.end(), {"--set", "roles.held_out.rows=4"});
  if (file.stem() == "arithmetic_dapo") // all of the tiny model's answers are cut off: nothing would be left
    sets.insert(sets.end(), {"--set", "roles.learner.mask_truncated=false"});
  if (file.stem() == "arithmetic_sync") // the tiny model never finds a sum: reward letters, so that it learns something
    sets.insert(sets.end(), {"--set", R"(roles.rules.rules=[{type="format",pattern="[a-k]",match="search"}])"});
  return sets;
}

/// Whether a pipeline, or a stage of it, learns from rows that people wrote.
bool is_supervised(const std::filesystem::path& file) {
  return read_file(file).find("\"demonstrations\"") != std::string::npos;
}

bool holds_file(const std::filesystem::path& folder, const std::string& start) {
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().filename().string().starts_with(start) && entry.file_size() > 0)
      return true;
  return false;
}

void check_files(const run_on_disk& files, std::size_t groups) {
  CHECK(files.steps() == steps);
  const auto status = files.status();
  CHECK(status.at("state") == "finished");
  const auto& ledger = status.at("ledger");
  const auto count = [&](const char* key) { return ledger.at(key).get<std::int64_t>(); };
  std::int64_t dropped = 0;
  for (const auto& [reason, tokens] : ledger.at("dropped").items())
    dropped += tokens.get<std::int64_t>();
  CHECK(count("trained") > 0);
  CHECK(count("generated") == count("trained") + count("live") + dropped);
  CHECK(count("live") == 0);

  const auto damage = millrace::run_files::checkpoint_damage(files.folder() / "checkpoints/step-000002",
                                                             millrace::run_files::depth::contents);
  CHECK(damage.value_or("") == "");
  for (const auto* start : {"resolved.toml", "metrics.jsonl", "log.txt", "events.out.tfevents.", "trajectories-1."})
    CHECK_MESSAGE(holds_file(files.folder(), start), start);
  std::size_t trained = 0;
  for (const auto& [step, ids] : files.trained_groups())
    trained += ids.size();
  CHECK(trained == steps * groups);

  const auto trace = nlohmann::json::parse(read_file(files.folder() / "trace.json"), nullptr, false);
  REQUIRE(trace.is_array());
  std::set<std::string> tracks;
  for (const auto& event : trace)
    if (event.at("name") == "thread_name")
      tracks.insert(event.at("args").at("name").get<std::string>());
  for (const auto* actor : {"rollout/0", "rules/0", "learner/0"})
    CHECK_MESSAGE(tracks.contains(actor), actor);
}

} // namespace

TEST_CASE("every file in pipelines/ runs with a tiny model, and its resolved file runs again") {
  const temporary_folder folder;
  write_file(folder / "rows.jsonl", R"({"prompt":[{"role":"user","content":"Two and two?"}],)"
                                    R"("reward_model":{"ground_truth":"4"},"data_source":"sums"})"
                                    "\n");
  std::size_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator("pipelines")) {
    if (entry.path().extension() != ".toml")
      continue;
    if (is_supervised(entry.path())) // tests/tools/supervised_test.cpp
      continue;
    ++files;
    const auto name = entry.path().stem().string();
    CAPTURE(name);
    const run_on_disk first(folder / name);
    auto command = command_line({"run", entry.path().string(), "--output", first.folder().string()});
    for (const auto& word : made_tiny(entry.path(), folder / "rows.jsonl"))
      command.push_back(word);
    const auto done = run_to_end(command);
    CAPTURE(done.err);
    REQUIRE(done.status == 0);
    check_files(first, name == "gsm8k" ? 8 : 4);

    const run_on_disk again(folder / (name + "-again"));
    const auto resolved = (first.folder() / "resolved.toml").string();
    const auto repeated = run_to_end(command_line({"run", resolved, "--output", again.folder().string()}));
    CAPTURE(repeated.err);
    REQUIRE(repeated.status == 0);
    CHECK(again.steps() == steps);
    if (name == "arithmetic_sync") {
      CHECK(first.metrics().at(0).at("actor/grad_norm") > 0);
      CHECK(again.learning_curve() == first.learning_curve());
    }
  }
  CHECK(files >= 20);
}

} // namespace pipelines_test
