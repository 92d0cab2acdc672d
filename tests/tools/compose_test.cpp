#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <algorithm>

namespace compose_test {

// Several pipeline files in one command line, and a run that is only looked at.

using namespace millrace::tests;

namespace {

/// A whole pipeline and what an experiment changes of it, in two folders.
struct two_files {
  temporary_folder folder;
  std::string base = (folder / "base.toml").string();
  std::string experiment = (folder / "more/experiment.toml").string();

  explicit two_files(const std::string& text, const tiny_pipeline& under = {}) {
    write_file(base, text_of(under));
    std::filesystem::create_directory(folder / "more");
    write_file(experiment, text);
  }

  finished_command run(strings arguments, const strings& more = {}) const {
    arguments.insert(arguments.end(), {base, experiment});
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_to_end(command_line(arguments));
  }
};

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

} // namespace

TEST_CASE("a run of two files and --set is the run of all three, and its resolved.toml says which said what") {
  const two_files files("[run]\nsteps = 2\nname = \"other\"\n[roles.rollout]\nmax_new_tokens = 4\n");
  const auto done = files.run({"run"}, {"--set", "roles.rollout.slots=8", "--output", (files.folder / "run").string()});
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  CHECK(run_on_disk(files.folder / "run").steps() == 2);
  const auto resolved = read_file(files.folder / "run/resolved.toml");
  CHECK(has(resolved, "name = \"other\""));
  CHECK(has(resolved, "# " + files.experiment + ":5\n"));    // max_new_tokens
  CHECK(has(resolved, "# " + files.base + ":4\n") == false); // steps, which the experiment says
  CHECK(has(resolved, "# --set roles.rollout.slots=8\n"));
  CHECK(has(resolved, "seed = 7" + std::string(42, ' ') + "# " + files.base)); // untouched
}

TEST_CASE("every command that reads a pipeline takes several files") {
  const two_files files("[run]\nname = \"other\"\n[roles.second]\nkind = \"reference\"\nfrom = [\"rollout\"]\n"
                        "model = \"tiny\"\n[roles.learner]\nfrom = [\"rules\", \"second\"]\n"
                        "loss = { kl_coefficient = 0.1 }\n");
  CHECK(has(files.run({"check"}).out, "run other: "));
  CHECK(has(files.run({"graph"}).out, "second"));
  CHECK(has(files.run({"metrics"}).out, "actor/kl_loss"));
  const auto planned = files.run(
      {"plan"}, {"--costs", "tokens_per_s=100", "--costs", "train_s=1", "--costs", "mean_tokens=10", "--steps", "2"});
  CAPTURE(planned.err);
  CHECK(planned.status == 0);
}

TEST_CASE("a mistake of a later file is said at its line there, and one that only both make is found") {
  const two_files files("[run]\nsteps = 2\n\n[roles.rules]\nrules = [ { type = \"fromat\", pattern = \"x\" } ]\n");
  for (const auto* command : {"check", "run", "graph", "metrics"}) {
    CAPTURE(command);
    const auto refused = files.run({command});
    CHECK(refused.status == 1);
    CHECK(refused.err.starts_with(files.experiment + ":5:20: roles.rules.rules.0.type: found \"fromat\""));
    CHECK(std::count(refused.err.begin(), refused.err.end(), '\n') == 1);
  }
  const auto both = two_files("[roles.prompts]\nfile = \"rows.jsonl\"\n").run({"check"});
  CHECK(both.status == 1);
  CHECK(has(both.err, "generator"));
}

TEST_CASE("a path of a file starts at this file's folder") {
  const two_files files("[roles.rules]\nrules = [ { type = \"python\", file = \"reward.py\", function = \"f\" } ]\n");
  const std::string reward = "def f(data_source, solution_str, ground_truth, extra_info=None):\n    return 1.0\n";
  write_file(files.folder / "reward.py", reward); // beside the base, which does not name it
  const auto refused = files.run({"check"});
  CHECK(refused.status == 1);
  CHECK(has(refused.err, (files.folder / "more/experiment.toml").string()
                             + ":2:11: roles.rules.rules.0: rule python: found no file "
                             + (files.folder / "more/reward.py").string()));
  write_file(files.folder / "more/reward.py", reward);
  const auto found = files.run({"check"});
  CAPTURE(found.err);
  CHECK(found.status == 0);
}

TEST_CASE("a dry run prints the resolved pipeline and what its roles keep in memory, and leaves nothing behind") {
  const two_files files("[run]\nsteps = 2\n", {.critic = true});
  const auto shown = files.run({"run", "--dry-run"}, {"--output", (files.folder / "run").string()});
  CAPTURE(shown.err);
  REQUIRE(shown.status == 0);
  CHECK_FALSE(std::filesystem::exists(files.folder / "run"));
  CHECK(has(shown.out, "steps = 2 "));
  for (const auto* part : {"rollout's cache ", "learner's moments ", "critic's activations ", "  this host "})
    CHECK(has(shown.err, part));
  // What it printed is a pipeline, and the same one.
  write_file(files.folder / "resolved.toml", shown.out);
  const auto again = run_to_end(command_line({"check", (files.folder / "resolved.toml").string(), "--resolved"}));
  const auto of_both = files.run({"check", "--resolved"});
  CHECK(again.status == 0);
  CHECK(of_both.out == shown.out);
}

TEST_CASE("a dry run of what cannot run fails as the run does") {
  const two_files files("[models.tiny]\npath = \"nowhere\"\n");
  const auto refused = files.run({"run", "--dry-run"});
  CHECK(refused.status == 1);
  CHECK(refused.out.empty());
  CHECK(refused.err.starts_with(files.experiment + ":2:8: models.tiny.path: "));
}

} // namespace compose_test
