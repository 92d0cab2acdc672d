#include "runtime/pipeline/stages.hpp"
#include "tests/runtime/pipeline/fixture.hpp"

#include <doctest/doctest.h>

namespace pipelines_test {

using namespace millrace::pipeline;

namespace {

/// What stands in for files that need not be on the machine.
std::vector<std::string> stand_ins(const std::filesystem::path& file, const std::filesystem::path& folder) {
  std::vector<std::string> overrides{"models.smol.path=" + (folder / "model.gguf").string()};
  const std::string rows = (folder / "rows.jsonl").string(), name = file.stem().string();
  if (name.starts_with("gsm8k"))
    overrides.push_back("roles.questions.file=" + rows);
  if (name.starts_with("preferences_"))
    overrides.push_back("roles.rows.file=" + rows);
  if (name == "r1")
    for (const char* key : {"roles.calculations.file", "roles.problems.file", "stage.cold_start.roles.rows.file",
                            "stage.reasoning.roles.questions.file", "stage.rejection.roles.questions.file",
                            "stage.sft.roles.rows.file", "stage.all_tasks.roles.questions.file"})
      overrides.push_back(std::string(key) + '=' + rows);
  if (name == "deepspeed_chat")
    for (const char* key : {"sft.roles.rows.file", "reward.roles.rows.file", "ppo.roles.prompts.file",
                            "ppo.roles.learner.pretraining.file"})
      overrides.push_back("stage." + std::string(key) + '=' + rows);
  return overrides;
}

} // namespace

TEST_CASE("every file in pipelines/ is a pipeline in this program's words, and so is its resolved file") {
  const millrace::test::pipeline_folder folder;
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator("pipelines")) {
    if (entry.path().filename() == "README.md" || entry.path().extension() == ".py")
      continue;
    CAPTURE(entry.path().string());
    REQUIRE(entry.path().extension() == ".toml");
    ++files;
    const auto stages = read_stages(entry.path(), stand_ins(entry.path(), folder.path()));
    CHECK(name_of_run(stages) == entry.path().stem());
    const auto resolved = folder.path() / "resolved.toml";
    std::ofstream(resolved) << (is_staged(stages) ? resolved_stages(stages) : resolved_toml(stages[0].what));
    const auto again = read_stages(resolved);
    REQUIRE(again.size() == stages.size());
    for (std::size_t i = 0; i < stages.size(); ++i) {
      CHECK(again[i].name == stages[i].name);
      CHECK(again[i].what == stages[i].what);
    }
  }
  CHECK(files >= 5);
}

TEST_CASE("the presets are all shown") {
  const millrace::test::pipeline_folder folder;
  std::vector<std::string> presets;
  for (const char* name : {"arithmetic", "arithmetic_sync", "arithmetic_bounded"}) {
    const std::filesystem::path file = std::filesystem::path("pipelines") / (std::string(name) + ".toml");
    presets.push_back(read_pipeline(file, stand_ins(file, folder.path())).schedule.preset);
  }
  CHECK(presets == std::vector<std::string>{"one_step_off", "synchronous", "bounded"});
}

TEST_CASE("rules and algorithms bring their own checks") {
  const auto error = [](const std::string& from, const std::string& to) -> std::string {
    const millrace::test::pipeline_folder folder;
    try {
      parse_pipeline(millrace::test::changed(millrace::test::valid, from, to), "p.toml", folder.path());
    } catch (const pipeline_errors& errors) {
      return errors.what();
    }
    return "";
  };
  CHECK(error("type = \"number\"", "type = \"number\"").empty());
  CHECK(error("type = \"number\"", "type = \"format\", pattern = \"(\"")
            .starts_with("p.toml:21:11: roles.rules.rules.0: "));
  CHECK(error("type = \"number\"", "type = \"number\", extract = \"bxed\"").find("did you mean \"boxed\"?")
        != std::string::npos);
  CHECK(error("publishes_to", "algorithm = \"rlo\"\npublishes_to").find("did you mean \"rloo\"?") != std::string::npos);
  CHECK(error("publishes_to", "algorithm_options = { clip_low = 2 }\npublishes_to")
            .starts_with("p.toml:27:34: roles.learner.algorithm_options.clip_low: found 2, want a number from 0 to 1"));
  CHECK(error("publishes_to", "algorithm_options = { clip_low = 0.3 }\npublishes_to").empty());
}

} // namespace pipelines_test
