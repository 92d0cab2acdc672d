#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>

namespace algorithm_test {

using namespace millrace::tests;

namespace {

finished_command algorithm(strings arguments) {
  arguments.insert(arguments.begin(), "algorithm");
  return run_to_end(command_line(arguments));
}

/// The first words of the list's lines that are not indented.
strings names() {
  strings out;
  std::istringstream in(algorithm({"list"}).out);
  for (std::string line; std::getline(in, line);)
    if (!line.empty() && line[0] != ' ' && line != "algorithms" && !line.starts_with("corrections,"))
      out.push_back(line.substr(0, line.find(' ')));
  return out;
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

} // namespace

TEST_CASE("the list holds algorithms and corrections") {
  const auto listed = names();
  for (const char* name : {"grpo", "rloo", "reinforce_pp", "vtrace", "truncated", "icepop", "m2po"})
    CHECK_MESSAGE(std::find(listed.begin(), listed.end(), name) != listed.end(), name);
}

TEST_CASE("what show prints of each algorithm and correction is a pipeline that check accepts") {
  const temporary_folder folder;
  for (const auto& name : names()) {
    CAPTURE(name);
    const auto page = algorithm({"show", name});
    CHECK(page.status == 0);
    for (const char* part : {"source ", "formula ", "options ", "differences ", "[roles.learner]"})
      CHECK_MESSAGE(contains(page.out, part), part);
    const auto toml = algorithm({"show", name, "--toml"});
    CHECK(page.out.ends_with(toml.out));
    write_file(folder / "p.toml", toml.out);
    write_file(folder / "rows.jsonl", "{\"prompt\": \"a\", \"chosen\": \"b\", \"rejected\": \"c\"}\n");
    strings command{"check", (folder / "p.toml").string(), "--set", "models.smol.path=" + tiny_model().string()};
    if (contains(toml.out, "\nfile = "))
      command.insert(command.end(), {"--set", "roles.prompts.file=" + (folder / "rows.jsonl").string()});
    const auto checked = run_to_end(command_line(command));
    CAPTURE(checked.err);
    CHECK(checked.status == 0);
  }
}

TEST_CASE("eval prints advantages, loss, gradient and diagnostics as JSON") {
  const temporary_folder folder;
  write_file(folder / "b.json", R"({"groups":[{"rewards":[1,0],"answers":[{"logprob":[-1],"behaviour_logprob":[-3]},)"
                                R"({"logprob":[-1],"behaviour_logprob":[-1]}]}]})");
  const auto batch = (folder / "b.json").string();
  const auto done = algorithm({"eval", "rloo", batch, "--set", "correction=truncated", "--set", "correction.cap=3",
                               "--set", "aggregation=sequence_mean"});
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  const auto out = nlohmann::json::parse(done.out);
  CHECK(out["advantages"][0][0][0] == 1.0);
  CHECK(out["advantages"][0][1][0] == -1.0);
  CHECK(out["weights"][0][0][0] == 3.0);
  CHECK(out["loss"].get<double>() == doctest::Approx(-(3.0 - 1) / 2));
  CHECK(out["gradient"][0][0][0].get<double>() == doctest::Approx(-1.5));
  CHECK(out["diagnostics"]["truncated_fraction"] == 0.5);
}

TEST_CASE("show tells where the peers take another mean, divide by other tokens or clamp nothing") {
  const auto says = [](const char* name, const strings& parts) {
    CAPTURE(name);
    auto page = algorithm({"show", name}).out;
    std::replace(page.begin(), page.end(), '\n', ' ');
    for (const auto& part : parts)
      CHECK_MESSAGE(contains(page, part), part);
  };
  says("sapo", {"AReaL: the same losses, and the token mean of them"});
  says("gspo", {"AReaL takes the token mean, and verl 0.9.1 what its loss_agg_mode says"});
  says("rejection", {"Denominators keep every token", "AReaL's rejection carries the importance weight too"});
  for (const char* name : {"geometric_mask", "m2po", "veto", "masked"})
    says(name, {"Denominators keep every token", "by the kept ones"});
  says("reinforce_pp", {"OpenRLHF's return also discounts over masked ones"});
  for (const auto& name : names())
    says(name.c_str(), {"clamped to [-20, 20]", "\"mask\" stands in every answer or in none"});
}

TEST_CASE("eval bounds the KL that comes off the reward by the clamps") {
  const temporary_folder folder;
  write_file(folder / "b.json", R"({"groups":[{"rewards":[1],"answers":[{"logprob":[-8],"ref_logprob":[-1]}]}]})");
  const auto advantage = [&](const strings& more) {
    strings arguments{"eval",
                      "reinforce_pp",
                      (folder / "b.json").string(),
                      "--set",
                      "whitening=0",
                      "--set",
                      "kl_in_reward=0.05",
                      "--set",
                      "kl_in_reward_estimator=3"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const auto done = algorithm(arguments);
    CAPTURE(done.err);
    REQUIRE(done.status == 0);
    return nlohmann::json::parse(done.out)["advantages"][0][0][0].get<double>();
  };
  CHECK(advantage({}) == doctest::Approx(-53.43).epsilon(1e-3));
  CHECK(advantage({"--set", "kl_clamp_input=20", "--set", "kl_clamp_output=10"}) == doctest::Approx(0.5));
}

TEST_CASE("a wrong name, key, value or batch is one line and exit status 1") {
  const temporary_folder folder;
  write_file(folder / "b.json", R"({"groups":[{"rewards":[1],"answers":[{"logprob":[-1]}]}]})");
  const auto batch = (folder / "b.json").string();
  const auto refused = [&](const strings& arguments, const std::string& words) {
    const auto done = algorithm(arguments);
    CAPTURE(done.err);
    CHECK(done.status == 1);
    CHECK(done.out.empty());
    CHECK_MESSAGE(contains(done.err, words), words);
    CHECK(std::count(done.err.begin(), done.err.end(), '\n') == 1);
  };
  refused({"show", "grppo"}, "found \"grppo\", want one of grpo");
  refused({"eval", "truncated", batch}, "found \"truncated\", want one of grpo");
  refused({"eval", "grpo", (folder / "none.json").string()}, "none.json: cannot open");
  refused({"eval", "ppo", batch}, "groups[0].answers[0]: no \"value\", want it in every answer: ppo needs it");
  refused({"eval", "grpo", batch, "--set", "clip_lo=0.1"}, "option 'clip_lo': unknown, did you mean 'clip_low'?");
  refused({"eval", "grpo", batch, "--set", "clip_low=two"}, "found \"two\", want a number");
  refused({"eval", "grpo", batch, "--set", "correction=ice"}, "want one of truncated");
  refused({"eval", "grpo", batch, "--set", "correction.low=1"}, "no correction yet");
  refused({"eval", "grpo", batch, "--set", "correction=icepop"},
          "no \"behaviour_logprob\", want it in every answer: icepop needs it");
  refused({"eval", "grpo", batch, "--set", "kl_coefficient=0.1"}, "no \"ref_logprob\"");
}

} // namespace algorithm_test
