#include "runtime/cluster/grace.hpp"
#include "tests/tools/supervised_run.hpp"

#include <doctest/doctest.h>

#include <csignal>

namespace supervised_test {

using namespace millrace::tests;

namespace {

double figure(const run_on_disk& files, const char* name, std::size_t step) {
  return files.metrics().at(step).at(name).get<double>();
}

std::filesystem::path last_checkpoint(const run_on_disk& files, int steps) {
  char name[32];
  std::snprintf(name, sizeof name, "step-%06d", steps);
  return files.folder() / "checkpoints" / name;
}

} // namespace

TEST_CASE("supervised fine-tuning on chat rows, completions and verl's solutions lowers their loss") {
  const supervised_run run(
      chat_rows, demonstrations() + policy("\"answers\"", "algorithm = \"sft\"\noptimizer = { lr = 0.01 }"), 15);
  const auto files = run.to_end();
  CHECK(figure(files, "actor/pg_loss", 14) < 0.5 * figure(files, "actor/pg_loss", 0));
  CHECK(files.status().at("ledger").at("live") == 0);
  const auto ledger = files.status().at("ledger");
  for (const auto& [reason, tokens] : ledger.at("dropped").items())
    CHECK(reason == "masked"); // nothing is written twice
  // In processes of their own the same rows make the same numbers.
  const auto apart =
      run.to_end({"--set", "placement.answers.processes=1", "--set", "placement.learner.processes=1"}, "apart");
  CHECK(apart.learning_curve() == files.learning_curve());
}

TEST_CASE("preferences: DPO and a reward model come to rank the pairs they are shown") {
  const auto pairs = demonstrations("form = \"preference\"");
  SUBCASE("dpo") {
    const supervised_run run(preference_rows,
                             pairs + "[roles.frozen]\nkind = \"reference\"\nfrom = [\"answers\"]\nmodel = \"tiny\"\n"
                                 + policy("\"answers\", \"frozen\"", "algorithm = \"dpo\"\noptimizer = { lr = 0.003 }"),
                             15);
    const auto files = run.to_end();
    CHECK(figure(files, "preference/accuracy", 14) >= 0.99);
    CHECK(figure(files, "actor/pg_loss", 14) < 0.5 * 0.6931); // log 2 before the first step
    CHECK(figure(files, "actor/pg_loss", 0) == doctest::Approx(0.6931).epsilon(0.01));
  }
  SUBCASE("bradley_terry") {
    const supervised_run run(
        preference_rows, pairs + policy("\"answers\"", "algorithm = \"bradley_terry\"\noptimizer = { lr = 0.01 }"), 15);
    const auto files = run.to_end();
    CHECK(figure(files, "preference/accuracy", 14) >= 0.99);
    CHECK(figure(files, "actor/pg_loss", 0) == doctest::Approx(0.6931).epsilon(1e-3)); // a head of zeros
    CHECK(figure(files, "actor/pg_loss", 14) < 0.3);
    const auto config = nlohmann::json::parse(read_file(last_checkpoint(files, 15) / "model/config.json"));
    CHECK(config.at("architectures").at(0) == "LlamaForSequenceClassification");
  }
}

TEST_CASE("LoRA trains adapters alone, writes them as PEFT does beside the merged model, and goes on from them") {
  const supervised_run run(
      chat_rows,
      demonstrations() + policy("\"answers\"", "algorithm = \"sft\"\noptimizer = { lr = 0.02 }\nlora = { rank = 4 }"),
      12);
  const auto files = run.to_end();
  CHECK(figure(files, "actor/pg_loss", 11) < 0.8 * figure(files, "actor/pg_loss", 0));
  const auto checkpoint = last_checkpoint(files, 12);
  for (const char* file :
       {"adapter/adapter_config.json", "adapter/adapter_model.safetensors", "model/model.safetensors"})
    CHECK_MESSAGE(std::filesystem::exists(checkpoint / file), file);
  const auto resumed = run_to_end(command_line({"resume", files.folder().string(), "--set", "run.steps=14"}));
  CAPTURE(resumed.err);
  CHECK(resumed.status == 0);
  CHECK(figure(files, "actor/pg_loss", 12) < figure(files, "actor/pg_loss", 10));
  const auto from_adapter =
      run.to_end({"--set", "roles.learner.lora={start=\"" + (checkpoint / "adapter").string() + "\",merged=false}",
                  "--set", "run.steps=1"},
                 "again");
  CHECK(figure(from_adapter, "actor/pg_loss", 0) < 0.8 * figure(files, "actor/pg_loss", 0));
  CHECK_FALSE(std::filesystem::exists(last_checkpoint(from_adapter, 1) / "model"));
}

TEST_CASE("DeepSpeed-Chat's three steps run out of one file, with an average of the policy and plain text mixed in") {
  const strings stages{"sft", "reward", "ppo"};
  const staged_pipeline run("deepspeed_chat", stages);
  auto command =
      run.start({"stage.sft.roles.rows.file=chat.jsonl", "stage.reward.roles.rows.file=pairs.jsonl",
                 "stage.ppo.roles.prompts.file=prompts.jsonl", "stage.ppo.roles.learner.pretraining.file=text.jsonl"});
  command = brief(command, {"ppo"});
  for (const char* set : {"ppo.roles.learner.optimizer.warmup_steps=0", "ppo.roles.critic.optimizer.warmup_steps=0"})
    command.insert(command.end(), {"--set", std::string("stage.") + set});
  const auto done = run_to_end(command, 60);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  run.check_finished();
  CHECK(std::filesystem::exists(last_checkpoint(run.stage(2), 2) / "ema/model.safetensors"));
  CHECK(figure(run.stage(2), "pretraining/loss", 0) > 0);
  const auto status = run_to_end(command_line({"status", run.folder().string()}));
  CHECK(status.out.find("stage 2 of 3, reward") != std::string::npos);
}

TEST_CASE("a stage may take longer than the process of the one before may take to let go") {
  const staged_pipeline run("deepspeed_chat", {"sft", "reward", "ppo"});
  auto command = brief(
      run.start({"stage.sft.roles.rows.file=chat.jsonl", "stage.reward.roles.rows.file=pairs.jsonl",
                 "stage.ppo.roles.prompts.file=prompts.jsonl", "stage.ppo.roles.learner.pretraining.file=text.jsonl"}),
      {"ppo"});
  command.insert(command.end(), {"--set", "stage.reward.run.steps=1000000", "--set",
                                 "stage.ppo.roles.learner.optimizer.warmup_steps=0", "--set",
                                 "stage.ppo.roles.critic.optimizer.warmup_steps=0"});
  running_command running(command);
  REQUIRE(wait_until([&] { return run.stage(1).steps() > 0 || running.ended(); }));
  const auto start = std::chrono::steady_clock::now();
  wait_until([&] {
    return running.ended() || std::chrono::steady_clock::now() - start > millrace::cluster::parting_grace * 3 / 2;
  });
  CAPTURE(running.err());
  CHECK_FALSE(running.ended());
  running.signal(SIGTERM);
  CHECK(running.wait().status == 3);
}

TEST_CASE("the R1 recipe runs out of one file, and after SIGKILL goes on with the stage that was not finished") {
  const staged_pipeline run("r1", r1_stages);
  auto command = brief(run.start(r1_files), {"reasoning", "rejection", "all_tasks"});
  for (const char* role : {"calculations", "problems"})
    command.insert(command.end(), {"--set", std::string("roles.") + role + ".max_new_tokens=8"});
  {
    running_command running(command);
    REQUIRE(wait_until([&] { return run.stage(0).status().value("state", "") == "finished" || running.ended(); }));
    CAPTURE(running.err());
    REQUIRE_FALSE(running.ended().has_value());
    running.signal(SIGKILL);
    running.wait();
  }
  const auto first = std::filesystem::last_write_time(run.stage(0).folder() / "metrics.jsonl");
  const auto done = run_to_end(command_line({"resume", run.folder().string()}), 60);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
  run.check_finished();
  CHECK(std::filesystem::last_write_time(run.stage(0).folder() / "metrics.jsonl") == first);
  // A second resume finds nothing to do.
  CHECK(run_to_end(command_line({"resume", run.folder().string()})).status == 0);
  CHECK(std::filesystem::last_write_time(run.stage(0).folder() / "metrics.jsonl") == first);
}

} // namespace supervised_test
