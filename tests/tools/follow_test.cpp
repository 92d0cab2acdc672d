#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <sstream>

namespace follow_test {

using namespace millrace::tests;
namespace fs = std::filesystem;

namespace {

/// Client libraries that write each call as a line of JSON to the file CALLS.
void write_stand_ins(const fs::path& folder) {
  write_file(folder / "wandb.py", R"(import json, os
def call(*words):
    with open(os.environ["CALLS"], "a") as file:
        file.write(json.dumps(words) + "\n")
class Run:
    resumed = "AT" in os.environ
    step = int(os.environ.get("AT", "0"))
    summary = {}
    def define_metric(self, *a, **k): pass
    def log(self, figures, step=None): call("log", step, figures.get("reward"))
    def finish(self): call("finish")
def Table(columns, data): return len(data)
def init(project, name, id, resume, config):
    call("init", id, name)
    return Run()
)");
  write_file(folder / "mlflow.py", R"(import json, os, types
def call(*words):
    with open(os.environ["CALLS"], "a") as file:
        file.write(json.dumps(words) + "\n")
def set_experiment(name): pass
def start_run(run_id=None, run_name=None):
    call("init", run_id or "made", run_name)
    return types.SimpleNamespace(info=types.SimpleNamespace(run_id="made"))
def log_text(text, name): pass
def log_dict(values, name): pass
def log_metrics(figures, step):
    for name in figures: # as MLflow's files have it
        assert "@" not in name and not any(other.startswith(name + "/") for other in figures), name
    call("log", step, figures.get("reward"))
class MlflowClient:
    def get_metric_history(self, run, name):
        with open(os.environ["CALLS"]) as file:
            words = [json.loads(line) for line in file]
        told = [w for w in words if w[0] == "log" and name == "reward" and w[2] is not None]
        return [types.SimpleNamespace(step=w[1]) for w in told]
def end_run(): call("finish")
)");
}

std::vector<nlohmann::json> calls_in(const fs::path& file, const std::string& name) {
  std::vector<nlohmann::json> found;
  std::istringstream lines(read_file(file));
  for (std::string line; std::getline(lines, line);)
    if (auto words = nlohmann::json::parse(line); words.at(0) == name)
      found.push_back(std::move(words));
  return found;
}

/// @param more settings of the environment
void follow_once(const std::string& tool, const fs::path& run, const temporary_folder& stand_ins,
                 const strings& more = {}) {
  strings command{"/usr/bin/env", "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=" + stand_ins.path().string(),
                  "CALLS=" + (stand_ins / "calls").string()};
  command.insert(command.end(), more.begin(), more.end());
  for (const auto& word : {std::string("python3"), "tools/" + tool, run.string(), std::string("--once")})
    command.push_back(word);
  const auto end = run_to_end(command);
  CAPTURE(end.err);
  CHECK(end.status == 0);
}

} // namespace

TEST_CASE("the followers copy each step once, across restarts and torn lines, into one run of the tracker") {
  for (const std::string tool : {"follow_wandb.py", "follow_mlflow.py"}) {
    CAPTURE(tool);
    const temporary_folder run, stand_ins;
    write_stand_ins(stand_ins.path());
    write_file(run / "resolved.toml", "[run]\nname = \"tiny\"\n");
    const std::string first =
                          R"({"step":1,"wall_s":5.0,"reward":0.25,"policy/version":1,"updates":1,"updates/of_kl":0})",
                      second = R"({"step":2,"wall_s":6.0,"reward":0.5,"policy/version":2})";
    write_file(run / "metrics.jsonl", first + "\n" + second.substr(0, 20));
    follow_once(tool, run.path(), stand_ins);
    write_file(run / "metrics.jsonl",
               first + "\n" + second + "\n" + R"({"step":1,"wall_s":7.0,"evaluation/a/pass@1":1.0})" + "\n");
    follow_once(tool, run.path(), stand_ins);
    follow_once(tool, run.path(), stand_ins);
    const auto logs = calls_in(stand_ins / "calls", "log");
    REQUIRE(logs.size() == 3);
    CHECK(logs[0] == nlohmann::json{"log", 1, 0.25});
    CHECK(logs[1] == nlohmann::json{"log", 2, 0.5});
    CHECK(logs[2].at(2).is_null()); // the evaluation
    const auto begun = calls_in(stand_ins / "calls", "init");
    REQUIRE(begun.size() == 3);
    CHECK(begun[0].at(1) == begun[2].at(1));
    CHECK(calls_in(stand_ins / "calls", "finish").size() == 3);
  }
}

TEST_CASE("a row that a killed follower had told without writing its place down is not told again") {
  const temporary_folder run, stand_ins;
  write_stand_ins(stand_ins.path());
  write_file(run / "resolved.toml", "[run]\nname = \"tiny\"\n");
  write_file(run / "metrics.jsonl", R"({"step":1,"reward":0.25,"policy/version":1})"
                                    "\n");
  follow_once("follow_mlflow.py", run.path(), stand_ins);
  auto place = nlohmann::json::parse(read_file(run / "follow_mlflow.json"));
  place["step"] = 0;
  write_file(run / "follow_mlflow.json", place.dump());
  write_file(run / "metrics.jsonl", R"({"step":1,"reward":0.25,"policy/version":1})"
                                    "\n"
                                    R"({"step":2,"reward":0.5,"policy/version":2})"
                                    "\n");
  follow_once("follow_mlflow.py", run.path(), stand_ins);
  const auto logs = calls_in(stand_ins / "calls", "log");
  REQUIRE(logs.size() == 3);
  CHECK(logs[0] == nlohmann::json{"log", 1, 0.25});
  CHECK(logs[1].at(2).is_null()); // the version, which the stand-in does not keep
  CHECK(logs[2] == nlohmann::json{"log", 2, 0.5});
}

TEST_CASE("rows that W&B lost with a killed follower are told again") {
  const temporary_folder run, stand_ins;
  write_stand_ins(stand_ins.path());
  write_file(run / "resolved.toml", "[run]\nname = \"tiny\"\n");
  write_file(run / "metrics.jsonl", R"({"step":1,"reward":0.25,"policy/version":1})"
                                    "\n"
                                    R"({"step":2,"reward":0.5,"policy/version":2})"
                                    "\n");
  follow_once("follow_wandb.py", run.path(), stand_ins);
  follow_once("follow_wandb.py", run.path(), stand_ins, {"AT=2"}); // the server has step 1
  const auto logs = calls_in(stand_ins / "calls", "log");
  REQUIRE(logs.size() == 3);
  CHECK(logs[2] == nlohmann::json{"log", 2, 0.5});
}

} // namespace follow_test
