#include "runtime/pipeline/layers.hpp"
#include "runtime/pipeline/stages.hpp"
#include "tests/runtime/pipeline/fixture.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>

namespace layers_test {

using namespace millrace::test;
using namespace millrace::pipeline;
namespace fs = std::filesystem;

namespace {

/// A folder with a base pipeline, and a folder `more` in it for what is laid over it.
struct layered {
  pipeline_folder folder;
  fs::path base = folder.path() / "base.toml";
  fs::path over = folder.path() / "more" / "over.toml";

  explicit layered(const std::string& over_text, const std::string& base_text = valid) {
    fs::create_directories(over.parent_path());
    std::ofstream(base) << base_text;
    std::ofstream(over) << over_text;
  }

  pipeline read(const std::vector<std::string>& overrides = {}) const {
    return read_pipeline({base, over}, overrides, words());
  }

  /// The errors, without the folder's name.
  std::string errors(const std::vector<std::string>& overrides = {}) const {
    try {
      read(overrides);
    } catch (const millrace::input_error& error) {
      std::string text = error.what();
      const std::string prefix = folder.path().string() + '/';
      for (auto at = text.find(prefix); at != std::string::npos; at = text.find(prefix))
        text.erase(at, prefix.size());
      return text;
    }
    return "";
  }
};

} // namespace

TEST_CASE("tables merge key by key, a later file wins, and --set wins over all of them") {
  const layered files("[run]\nsteps = 3\n[roles.learner]\noptimizer = { weight_decay = 0.5 }\n");
  const auto p = files.read({"run.seed=5"});
  CHECK(p.run.name == "t");
  CHECK(p.run.steps == 3);
  CHECK(p.run.seed == 5);
  const auto& optimizer = std::get<policy_table>(p.policy().options).optimizer;
  CHECK(optimizer.lr == 1e-4);
  CHECK(optimizer.weight_decay == 0.5);
  CHECK(files.read({"run.steps=4"}).run.steps == 4);
  CHECK(read_pipeline({files.base, files.over, files.base}, {}, words()).run.steps == 10);
}

TEST_CASE("a list takes the place of the earlier one, and so does a value of another type") {
  const layered files("[roles.rules]\nrules = [ { type = \"exact\" } ]\n");
  const auto p = files.read();
  const auto& rules = std::get<rule_verifier_table>(p.at("rules").options).rules;
  REQUIRE(rules.size() == 1);
  CHECK(rules[0].type == "exact");
  CHECK(rules[0].weight == 1);
  CHECK(layered("models = 3\n").errors().find("more/over.toml:1:10: models: found 3, want tables [models.NAME]")
        != std::string::npos);
}

TEST_CASE("a relative path starts at the folder of the file that it stands in, and --set's at the current one") {
  const layered files("[models.tiny]\npath = \"other.gguf\"\n");
  std::ofstream(files.over.parent_path() / "other.gguf") << "x";
  CHECK(files.read().models.at("tiny").path == files.over.parent_path() / "other.gguf");
  const auto relative = fs::relative(files.folder.path() / "model.gguf").string();
  CHECK(files.read({"models.tiny.path=" + relative}).models.at("tiny").path == files.folder.path() / "model.gguf");
  const layered untouched("[run]\nsteps = 3\n");
  CHECK(untouched.read().models.at("tiny").path == untouched.folder.path() / "model.gguf");
}

TEST_CASE("each mistake is said where it stands: the files in their order, then --set") {
  const layered files("[run]\nstep = 3\n[roles.learner]\nfrom = [\"rule\"]\n",
                      changed(valid, "groups_per_step = 2", "groups_per_step = 0"));
  CHECK(files.errors({"run.seed=x"})
        == "base.toml:31:19: schedule.groups_per_step: found 0, want an integer from 1 to 1000000 (groups (prompts) "
           "trained in each step)\n"
           "more/over.toml:2:1: unknown key \"step\" in [run], did you mean \"steps\"?\n"
           "more/over.toml:4:9: roles.learner.from: no role \"rule\", did you mean \"rules\"?\n"
           "--set run.seed=x: run.seed: found \"x\", want an integer from 0 to 9007199254740992 (seed of everything "
           "drawn at random)");
}

TEST_CASE("every file that is no TOML is named, and one that is not there") {
  CHECK(layered("a = \n", "b = ]\n").errors().find("\nmore/over.toml:1:") != std::string::npos);
  const layered files("");
  CHECK_THROWS_WITH_AS(read_pipeline({files.base, "/nowhere/p.toml"}, {}, words()),
                       "/nowhere/p.toml: no such file, want a pipeline in TOML", millrace::input_error);
}

TEST_CASE("what is missing in all files is missing in the first, and a table's key where the last file has the table") {
  CHECK(layered("[schedule]\ngroups_per_step = 2\n", "[run]\nname = \"t\"\nsteps = 1\n")
            .errors()
            .find("base.toml:1:1: no table [models.NAME]")
        == 0);
  CHECK(layered("\n[roles.judge]\nmodel = \"tiny\"\n").errors().find("more/over.toml:2:1: roles.judge: no key 'kind'")
        == 0);
}

TEST_CASE("the resolved file names all files, and the file of each value") {
  const layered files("[run]\nsteps = 3\n");
  const auto p = files.read();
  CHECK(p.file == files.over);
  REQUIRE(p.under.size() == 1);
  CHECK(p.under[0] == files.base);
  const auto text = resolved_toml(p);
  CHECK(text.starts_with("# " + files.base.string() + ", " + files.over.string() + ", every key"));
  CHECK(text.find("# " + files.over.string() + ":2\n") != std::string::npos);
  CHECK(text.find("# " + files.base.string() + ":2\n") != std::string::npos);
  CHECK(parse_pipeline(text, "resolved.toml", "/", {}, words()) == p);
}

TEST_CASE("keys keep the order of the first file, and new ones come after them") {
  const auto both = merged(parse_document("a = 1\n[t]\nx = 1\ny = 2\n", "p"),
                           parse_document("new = 1\n[t]\ny = 3\nz = 4\n[t.y2]\n", "q"));
  std::string order;
  for (const auto& m : both.members)
    order += m.key + ' ';
  CHECK(order == "a t new ");
  const auto& table = both.find("t")->is;
  order.clear();
  for (const auto& m : table.members)
    order += m.key + ' ';
  CHECK(order == "x y z y2 ");
  CHECK(table.find("y")->is.integer == 3);
  CHECK(table.find("y")->where.source == "q");
  CHECK(table.find("x")->where.source == "p");
}

TEST_CASE("files with stages merge too: the stages of a later file are a list, its tables at the top hold for all") {
  const layered files(
      "[run]\nsteps = 3\n", "[[stage]]\nname = \"one\"\n" + [] {
        std::string text = valid;
        for (auto at = text.find('['); at != std::string::npos; at = text.find("\n[", at)) {
          at += text[at] == '\n' ? 2 : 1;
          text.insert(at, "stage.");
        }
        return changed(text, "steps = 10\n", "");
      }());
  const auto stages = read_stages({files.base, files.over}, {}, words());
  REQUIRE(stages.size() == 1);
  CHECK(stages[0].name == "one");
  CHECK(stages[0].what.run.steps == 3);
  CHECK(stages[0].what.under.size() == 1);
}

} // namespace layers_test
