#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <fstream>
#include <sstream>

namespace schedule_test {

using namespace millrace::tests;

namespace {

std::vector<nlohmann::json> rows_of(const std::string& text) {
  std::vector<nlohmann::json> rows;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);)
    rows.push_back(nlohmann::json::parse(line));
  return rows;
}

} // namespace

TEST_CASE("presets are listed, shown as TOML and compared key by key") {
  const auto list = run_to_end(command_line({"schedule", "list"}));
  CHECK(list.status == 0);
  for (const auto* name : {"synchronous", "areal", "prime_rl", "nemo_windowed", "verl_v1", "april", "impala"})
    CHECK(list.out.find(name) != std::string::npos);
  const auto shown = run_to_end(command_line({"schedule", "show", "prime_rl"}));
  CHECK(shown.out.find("[schedule.stale]\nmax = 8\nmeasure = \"born\"\naction = \"drop\"\ncheck = \"publish\"\n")
        != std::string::npos);
  const auto packer = run_to_end(command_line({"schedule", "show", "roll_packer"})).out;
  CHECK(packer.find("oversample_prompts = 1.25\noversample_attempts = 1.25\n") != std::string::npos);
  CHECK(packer.find("deadline_s = 0\n") != std::string::npos);
  CHECK(packer.find("reclaim_adapt = false\n") != std::string::npos);
  const auto differ = rows_of(run_to_end(command_line({"schedule", "diff", "areal", "skyrl"})).out);
  REQUIRE(differ.size() == 2);
  CHECK(differ[0]["key"] == "schedule.select.order");
  CHECK(differ[1]["key"] == "schedule.interrupt.mode");
  CHECK(run_to_end(command_line({"schedule", "show", "arael"})).status == 1);
}

TEST_CASE(
    "plan predicts every point of a grid with given costs, refuses illegal ones and names the best under a bound") {
  const temporary_folder folder;
  std::ofstream(folder.path() / "p.toml") << text_of({});
  std::ofstream(folder.path() / "lengths.csv") << "100,100\n100,100\n";
  const auto done = run_to_end(command_line({"plan",         (folder.path() / "p.toml").string(),
                                             "--trace",      (folder.path() / "lengths.csv").string(),
                                             "--costs",      "tokens_per_s=100",
                                             "--costs",      "train_s=2",
                                             "--costs",      "slots=0",
                                             "--costs",      "groups_per_worker=4",
                                             "--set",        "schedule.preset=bounded",
                                             "--grid",       "schedule.gate.depth=0,1,9",
                                             "--grid",       "schedule.stale.max=1,8",
                                             "--best-under", "staleness_max<=1",
                                             "--steps",      "20"}));
  CAPTURE(done.err);
  CHECK(done.status == 2); // a point of the grid is refused
  const auto rows = rows_of(done.out);
  REQUIRE(rows.size() == 7);
  std::ofstream(folder.path() / "wrong.csv") << "100,100\n100, 1o0\n";
  const auto wrong = run_to_end(
      command_line({"plan", (folder.path() / "p.toml").string(), "--trace", (folder.path() / "wrong.csv").string()}));
  CHECK(wrong.status == 1);
  CHECK(wrong.err.find("wrong.csv:2:6: found '1o0', want a number of tokens, at least 0") != std::string::npos);
  std::ofstream(folder.path() / "wrong.csv") << "100,4000001\n";
  const auto long_answer = run_to_end(
      command_line({"plan", (folder.path() / "p.toml").string(), "--trace", (folder.path() / "wrong.csv").string()}));
  CHECK(long_answer.err.find("wrong.csv:1:5: found '4000001'") != std::string::npos);
  // In turn: one second of decoding, two of training.
  CHECK(rows[0]["step_s"].get<double>() == doctest::Approx(3).epsilon(0.01));
  CHECK(rows[2]["step_s"].get<double>() == doctest::Approx(2).epsilon(0.05));
  CHECK(rows[4]["refused"].get<std::string>().find("schedule.gate.depth")
        != std::string::npos); // 9 steps ahead, at most 1 old
  CHECK(rows[0]["learner"]["compute"].get<double>() == doctest::Approx(2.0 / 3).epsilon(0.01));
  CHECK(rows[6]["best"]["point"]["schedule.gate.depth"] == "1");
}

TEST_CASE("plan predicts a cluster that is not there, built in or from a file, and prints what it holds") {
  const temporary_folder folder;
  std::ofstream(folder.path() / "p.toml") << text_of({});
  const auto shown = run_to_end(command_line({"plan", "--show-cluster", "h100-1024"}));
  CHECK(shown.status == 0);
  std::ofstream(folder.path() / "mine.toml") << shown.out;
  strings figures;
  for (const std::string& cluster : {std::string("h100-1024"), (folder.path() / "mine.toml").string()}) {
    const auto done =
        run_to_end(command_line({"plan", (folder.path() / "p.toml").string(), "--cluster", cluster, "--set",
                                 "roles.rollout.max_new_tokens=32000", "--set", "schedule.groups_per_step=256"}));
    CAPTURE(done.err);
    CHECK(done.status == 0);
    figures.push_back(done.out);
    const auto rows = rows_of(done.out);
    REQUIRE(rows.size() == 1);
    CHECK(rows[0]["staleness_max"] == 0);         // synchronous
    CHECK(rows[0]["step_s"].get<double>() > 320); // an answer of 32,000 tokens at 97 tokens/s
  }
  CHECK(figures[0] == figures[1]);
  // Ranks and the wire's dtype, where the file says how fast bytes travel. The model has 28,608 numbers.
  auto with_rates = shown.out;
  with_rates.replace(with_rates.find("step_s = 15"), 11, "step_s = 1\nexchange_bytes_per_s = 1000");
  with_rates.replace(with_rates.find("transfer_s = 11.5"), 17, "transfer_s = 1\nbytes_per_s = 1000");
  std::ofstream(folder.path() / "rates.toml") << with_rates;
  const auto traffic =
      run_to_end(command_line({"plan", (folder.path() / "p.toml").string(), "--cluster",
                               (folder.path() / "rates.toml").string(), "--set", "placement.learner.processes=2",
                               "--set", "placement.learner.shard=full", "--set", "models.tiny.dtype=bfloat16"}));
  CAPTURE(traffic.err);
  const double numbers = 28'608;
  const auto holds = [&](const std::string& name, double value) {
    std::ostringstream text;
    text << ' ' << name << '=' << value << ' ';
    CAPTURE(text.str());
    CHECK(traffic.err.find(text.str()) != std::string::npos);
  };
  holds("ranks", 2);
  holds("exchange_s", 3 * 4 * numbers / 2 / 1000); // gradients, and parameters twice: half of them are elsewhere
  holds("layout_s", 1 + 2 * numbers / 1000);
  const auto refused = run_to_end(command_line({"plan", (folder.path() / "p.toml").string(), "--cluster", "h100"}));
  CHECK(refused.status == 1);
  CHECK(refused.err.find("want one or h200-8, h100-64, h100-1024") != std::string::npos);
}

TEST_CASE("without a trace, a cluster or costs, plan measures this machine with the pipeline's model") {
  const temporary_folder folder;
  std::ofstream(folder.path() / "p.toml") << text_of({});
  const auto done = run_to_end(
      command_line({"plan", (folder.path() / "p.toml").string(), "--grid", "schedule.preset=synchronous,one_step_off"}),
      60);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  const auto rows = rows_of(done.out);
  REQUIRE(rows.size() == 2);
  CHECK(rows[0]["step_s"].get<double>() > 0);
  CHECK(rows[1]["staleness_max"] == 1);
  CHECK(done.err.find("step_s(16)=") != std::string::npos); // every slot was filled
  CHECK(done.err.find("lengths are those of") != std::string::npos);
}

TEST_CASE("a recorded run predicts itself") {
  tiny_pipeline wanted;
  wanted.steps = 8;
  const tiny_run run(wanted);
  const auto done = run_to_end(run.start({"--set", "roles.rollout.threads=1", "--set", "roles.learner.threads=1"}), 60);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  const auto told =
      run_to_end(command_line({"plan", (run / "run/resolved.toml").string(), "--trace", (run / "run").string()}));
  CAPTURE(told.err);
  REQUIRE(told.status == 0);
  const auto rows = rows_of(told.out);
  // Steps of milliseconds on a busy machine: the figure is near enough to be no other run's. Tokens are exact.
  const auto metrics = run.files().metrics();
  const double measured = (metrics.back()["wall_s"].get<double>() - metrics.front()["wall_s"].get<double>()) / 7;
  CHECK(rows[0]["step_s"].get<double>() > measured / 3);
  CHECK(rows[0]["step_s"].get<double>() < measured * 3);
  CHECK(rows[0]["staleness_max"] == 0);
  const auto ranks = run_to_end(command_line({"plan", (run / "run/resolved.toml").string(), "--trace",
                                              (run / "run").string(), "--set", "placement.learner.processes=2"}));
  CAPTURE(ranks.err);
  CHECK(ranks.status == 0);
  CHECK(ranks.err.find(" ranks=2 ") != std::string::npos);
  CHECK(ranks.err.find(" prompt_tokens=0 ") == std::string::npos);
  CHECK(ranks.err.find("does not tell prompts") == std::string::npos);
  const auto page =
      run_to_end(command_line({"report", (run / "run").string(), "--output", (run / "page.html").string()}));
  CHECK(page.status == 0);
  const auto html = read_file(run / "page.html");
  CHECK(html.find("No prediction") == std::string::npos);
  for (const auto* drawn :
       {"Predicted and measured", "Ends of steps, predicted and measured", "Credits: groups that may be under way",
        "Lead of production", "Groups by state", "Publication: time of each version", "what is left over: 0."})
    CHECK_MESSAGE(html.find(drawn) != std::string::npos, drawn);
  CHECK(rows[0]["trained_tokens_per_group"].get<double>() * 8 * groups_per_step
        == doctest::Approx(metrics.back()["tokens/trained"].get<double>()));
}

} // namespace schedule_test
