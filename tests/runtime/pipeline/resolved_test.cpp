#include "tests/runtime/pipeline/fixture.hpp"

#include <doctest/doctest.h>

#include <sstream>

namespace resolved_test {

using namespace millrace::test;

namespace {

std::string line_with(const std::string& text, const std::string& start) {
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(start))
      return line;
  return "";
}

/// Pipelines that between them use every table.
std::vector<std::pair<std::string, std::vector<std::string>>> cases() {
  const std::string frozen = changed(
      changed(valid, "[roles.learner]",
              "[roles.frozen]\nkind = \"reference\"\nfrom = [\"rollout\"]\nmodel = \"tiny\"\n\n[roles.learner]"),
      "from = [\"rules\"]", "from = [\"rules\", \"frozen\"]\nloss = { kl_coefficient = 0.1 }");
  return {
      {valid, {}},
      {frozen, {}},
      {valid, {"schedule.preset=synchronous"}},
      {valid, {"schedule.preset=bounded", "schedule.gate.depth=3"}},
      {valid, {"placement.rollout.processes=2", "placement.rules.processes=1", "placement.transport=tcp"}},
      {changed(valid, "generator = { type = \"arithmetic\" }", "file = \"rows.jsonl\"\nsystem = \"a\\\"b\\n\\u0001é\""),
       {"roles.prompts.epochs=2"}},
      {changed(valid, "generator = { type = \"arithmetic\" }",
               "sources = [{ name = \"a\", file = \"rows.jsonl\", epochs = 2, columns = { prompt = \"q\" } }, "
               "{ name = \"b\", weight = 0.25, generator = { type = \"arithmetic\" } }]"),
       {"roles.prompts.sources.a.weight=3"}},
      {changed(valid, "generator = { type = \"arithmetic\" }", "file = \"rows.jsonl\"\nsampler = \"difficulty\""), {}},
      {changed(valid, "{ type = \"arithmetic\" }",
               "{ type = \"reasoning_gym\", dataset = \"sums\", config = { a = [1, { \"b c\" = true }], c = 0.5, d = "
               "\"\\\"e\" } }"),
       {"roles.prompts.epochs=3"}},
      {valid, {"roles.rollout.stop=[\"\\n\", \"]\"]", "roles.learner.optimizer.lr=3e-7", "run.seed=9007199254740991"}},
      {changed(valid, "type = \"number\"", "type = \"length\", max = 5"), {}},
      {changed(valid, "type = \"number\"",
               "type = \"format\", pattern = '^\\d+\\s*$', weight = -0.1, name = \"digits\""),
       {}}};
}

} // namespace

TEST_CASE("the resolved file reads back as the same pipeline, and resolves to itself") {
  for (const auto& [text, overrides] : cases()) {
    const auto p = parsed(text, overrides);
    const std::string resolved = resolved_toml(p);
    CAPTURE(resolved);
    // Another folder: paths in it are absolute.
    const auto again = millrace::pipeline::parse_pipeline(resolved, "resolved.toml", "/", {}, words());
    CHECK(again == p);
    CHECK(millrace::pipeline::parse_pipeline(resolved_toml(again), "resolved.toml", "/", {}, words()) == p);
  }
}

TEST_CASE("each value says where it came from") {
  const std::string text = resolved_toml(parsed(valid, {"roles.rollout.max_new_tokens=64"}));
  CHECK(line_with(text, "steps = ").ends_with("# p.toml:3"));
  CHECK(line_with(text, "max_new_tokens = ").ends_with("# --set roles.rollout.max_new_tokens=64"));
  CHECK(line_with(text, "depth = ").ends_with("# preset one_step_off"));
  CHECK(line_with(text, "min_p = ").ends_with("# default"));
  CHECK(line_with(text, "kl_coefficient = ").ends_with("# default"));
  CHECK(line_with(text, "clip_low = ").ends_with("# default"));
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);)
    if (line.find(" = ") != std::string::npos) {
      CAPTURE(line);
      CHECK(line.find("# ") != std::string::npos);
    }
}

TEST_CASE("a comment cannot be broken out of") {
  const auto p = parsed(valid, {"roles.prompts.system=\"a\\nsteps = 99\""});
  CHECK(millrace::pipeline::parse_pipeline(resolved_toml(p), "r.toml", "/", {}, words()) == p);
  // A line feed within the --set itself, which the comment quotes.
  const auto q = parsed(valid, {"roles.prompts.system=a\nsteps = 99"});
  CHECK(millrace::pipeline::parse_pipeline(resolved_toml(q), "r.toml", "/", {}, words()) == q);
}

TEST_CASE("relative paths of the file start at its folder, those of --set at the current one") {
  const auto p = parsed(valid);
  CHECK(p.models.at("tiny").path == p.file.parent_path() / "model.gguf");
  const auto q = parsed(valid, {"models.tiny.path=" + std::filesystem::relative(p.models.at("tiny").path).string()});
  CHECK(q.models.at("tiny").path == p.models.at("tiny").path);
}

TEST_CASE("the key reference names every key of the resolved file") {
  const std::string keys = key_reference(words());
  for (const auto& [text, overrides] : cases()) {
    std::istringstream in(resolved_toml(parsed(text, overrides)));
    for (std::string line; std::getline(in, line);)
      if (const auto equals = line.find(" = "); equals != std::string::npos && line[0] != '#') {
        CAPTURE(line);
        CHECK(keys.find("\n  " + line.substr(0, equals) + ' ') != std::string::npos);
      }
  }
}

} // namespace resolved_test
