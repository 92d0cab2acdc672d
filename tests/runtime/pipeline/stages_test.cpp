#include "runtime/pipeline/draw.hpp"
#include "runtime/pipeline/stages.hpp"
#include "tests/runtime/pipeline/fixture.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace stages_test {

using namespace millrace::test;
using namespace millrace::pipeline;
using lines = std::vector<std::string>;

namespace {

/// Two stages: the second begins from what the first ends with. Line numbers matter.
const std::string two = R"([run]
name = "t"
steps = 10

[models.base]
path = "model.gguf"

[schedule]
groups_per_step = 2

[[stage]]
name = "first"
[stage.roles.prompts]
kind = "source"
file = "rows.jsonl"
[stage.roles.rows]
kind = "demonstrations"
from = ["prompts"]
model = "base"
[stage.roles.learner]
kind = "policy"
from = ["rows"]
model = "base"

[[stage]]
name = "second"
[stage.run]
steps = 3
[stage.models.tuned]
path = "stage:first"
[stage.roles.prompts]
kind = "source"
file = "rows.jsonl"
[stage.roles.rows]
kind = "demonstrations"
from = ["prompts"]
model = "tuned"
[stage.roles.learner]
kind = "policy"
from = ["rows"]
model = "tuned"
optimizer = { lr = 1e-4 }
)";

std::vector<stage> staged(const std::string& text, const std::vector<std::string>& overrides = {}) {
  static const pipeline_folder folder;
  return parse_stages(text, "p.toml", folder.path(), overrides, words());
}

std::string errors(const std::string& text, const std::vector<std::string>& overrides = {}) {
  try {
    staged(text, overrides);
  } catch (const millrace::input_error& error) {
    return error.what();
  }
  return "";
}

} // namespace

TEST_CASE("a stage has the tables at the top and its own, key by key") {
  const auto stages = staged(two);
  REQUIRE(stages.size() == 2);
  CHECK(is_staged(stages));
  CHECK(stages[0].name == "first");
  CHECK(stages[0].what.run.name == "t.first");
  CHECK(stages[0].what.run.steps == 10);
  CHECK(stages[1].what.run.name == "t.second");
  CHECK(stages[1].what.run.steps == 3);
  CHECK(stages[1].what.schedule.groups_per_step == 2);
  CHECK(stages[1].what.models.size() == 2);
  CHECK(stages[1].what.models.at("tuned").path == "stage:first");
  CHECK(name_of_run(stages) == "t");
}

TEST_CASE("a file without stages is one without a name") {
  const auto one = staged(valid);
  REQUIRE(one.size() == 1);
  CHECK_FALSE(is_staged(one));
  CHECK(one[0].what.roles == parsed(valid).roles);
  CHECK(one[0].what.run == parsed(valid).run);
  CHECK(name_of_run(one) == "t");
}

TEST_CASE("a key of one stage, and one of all that do not say otherwise, can be set") {
  const auto stages =
      staged(two, {"stage.second.run.steps=7", "run.steps=5", "stage.0.roles.learner.optimizer.lr=0.5"});
  CHECK(stages[0].what.run.steps == 5);
  CHECK(stages[1].what.run.steps == 7);
  CHECK(std::get<policy_table>(stages[0].what.policy().options).optimizer.lr == 0.5);
  CHECK(std::get<policy_table>(stages[1].what.policy().options).optimizer.lr == 1e-4);
}

TEST_CASE("what is wrong in a stage is said where it stands, with the stage's name, all at once") {
  CHECK(errors(changed(changed(two, "optimizer = { lr = 1e-4 }", "optimiser = {}"), "path = \"stage:first\"",
                       "path = \"stage:frist\""))
        == "p.toml:30:8: stage \"second\": models.tuned.path: no earlier stage \"frist\", did you mean \"first\"?\n"
           "p.toml:42:1: stage \"second\": unknown key \"optimiser\" in [roles.learner], did you mean \"optimizer\"?");
  CHECK(errors(changed(two, "path = \"stage:first\"", "path = \"stage:second\""))
        == "p.toml:30:8: stage \"second\": models.tuned.path: no earlier stage \"second\", want one of first");
  CHECK(errors(changed(two, "path = \"stage:first\"", "path = \"stage:first/../x\"")).find("found part \"../x\"")
        != std::string::npos);
  CHECK(errors(changed(two, "name = \"second\"", "name = \"first\""))
            .find("p.toml:26:8: stage.name: found a second stage named \"first\"")
        != std::string::npos);
  CHECK(errors(changed(two, "name = \"second\"\n", "")).find("p.toml:25:1: stage: no key 'name'") != std::string::npos);
  CHECK(errors(changed(two, "name = \"second\"", "name = 3")).find("p.toml:26:8: stage.name: found 3, want a letter")
        != std::string::npos);
  CHECK(errors("stage = 3\n" + valid).find("p.toml:1:9: stage: found 3, want 1 to 64 tables [[stage]]")
        != std::string::npos);
  // What stands at the top is said once.
  CHECK(errors(changed(two, "groups_per_step = 2", "groups_per_step = 0")).find("p.toml:9:19: ") == 0);
  const auto plain = errors_of(two);
  CHECK(
      std::count_if(plain.begin(), plain.end(),
                    [](const auto& line) { return line.find("found stages, want one pipeline") != std::string::npos; })
      == 1);
}

TEST_CASE("outside stages \"stage:NAME\" is a path like any other") {
  CHECK(errors(changed(valid, "path = \"model.gguf\"", "path = \"stage:first\"")).find("found nothing there")
        != std::string::npos);
}

TEST_CASE("the resolved stages read as equal stages") {
  const auto stages = staged(two);
  const auto again = staged(resolved_stages(stages));
  REQUIRE(again.size() == 2);
  for (std::size_t i = 0; i < 2; ++i) {
    CHECK(again[i].name == stages[i].name);
    CHECK(again[i].what == stages[i].what);
  }
  CHECK(name_of_run(again) == "t");
}

TEST_CASE("references are replaced by folders") {
  const auto p = with_references(staged(two)[1].what, [](const stage_reference& reference) {
    CHECK(reference.stage == "first");
    CHECK(reference.part == "model");
    return std::filesystem::path("/x");
  });
  CHECK(p.models.at("tuned").path == "/x");
  CHECK(p.models.at("base").path.filename() == "model.gguf");
  const auto ema = stage_reference_of("stage:sft/ema");
  REQUIRE(ema);
  CHECK(ema->stage == "sft");
  CHECK(ema->part == "ema");
  CHECK_FALSE(stage_reference_of("/a/stage:sft"));
}

TEST_CASE("drawings show each stage in a frame and where its weights come from") {
  const auto stages = staged(two);
  const auto mermaid = draw_mermaid(stages);
  CHECK(mermaid.find("  subgraph stage_first[\"first\"]\n") != std::string::npos);
  CHECK(mermaid.find("  stage_first_role_learner ==>|model| stage_second_role_rows\n") != std::string::npos);
  CHECK(draw_dot(stages).find("\"first.learner\" -> \"second.learner\" [label=\"model\", style=bold];")
        != std::string::npos);
  const auto svg = draw_svg(stages);
  CHECK(svg.find("<svg y=\"24\" xmlns") != std::string::npos);
  CHECK(svg.ends_with("</svg>\n</svg>\n"));
  CHECK(describe(stages).find("model tuned: the model that stage first ends with\n") != std::string::npos);
}

} // namespace stages_test
