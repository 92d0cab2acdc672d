#include "runtime/run_files/step_lines.hpp"
#include "tests/tools/supervised_run.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <csignal>
#include <functional>

namespace replay_test {

using namespace millrace;
using namespace millrace::tests;

namespace {

using json = nlohmann::ordered_json;

void change(const std::filesystem::path& file, const std::string& what, const std::string& into) {
  std::string text = read_file(file);
  const auto at = text.rfind(what);
  REQUIRE(at != std::string::npos);
  write_file(file, text.replace(at, what.size(), into));
}

std::vector<json> record_of(const run_on_disk& files) {
  std::vector<json> lines;
  for (const auto& line : run_files::read_step_lines(files.folder() / "replay.jsonl"))
    lines.push_back(json::parse(line));
  return lines;
}

void change_record(const run_on_disk& files, const std::function<void(std::vector<json>&)>& how) {
  auto lines = record_of(files);
  how(lines);
  std::string text;
  for (const auto& line : lines)
    text += line.dump() + "\n";
  write_file(files.folder() / "replay.jsonl", text);
}

finished_command replayed(const std::filesystem::path& run) {
  return run_to_end(command_line({"replay", run.string()}), 60);
}

bool says(const finished_command& command, const std::string& words) {
  return command.err.find(words) != std::string::npos;
}

void check_same(const std::filesystem::path& run, std::size_t steps) {
  const auto again = replayed(run);
  CAPTURE(again.err);
  CHECK(again.status == 0);
  CHECK(says(again, std::to_string(steps) + " steps, every one the same bit for bit"));
}

/// The first group, from the record's end, of which a column was computed with other weights than the first ones.
json& group_with_later(std::vector<json>& lines, const std::string& column) {
  for (auto line = lines.rbegin(); line != lines.rend(); ++line)
    for (auto& group : line->at("groups"))
      if (group.at("origins").at(column).at(0) > 0)
        return group;
  FAIL("every group met the first weights");
  return lines.front();
}

/// The record says that a group met the weights before those that it met.
std::string with_other_weights(const run_on_disk& files, const std::string& column) {
  std::string group;
  change_record(files, [&](auto& lines) {
    auto& changed = group_with_later(lines, column);
    auto& version = changed.at("origins").at(column).at(0);
    version = version.template get<int>() - 1;
    group = changed.at("group").dump();
  });
  return "group " + group + ":";
}

/// A figure of the last step becomes its neighbour.
std::string with_other_figure(const run_on_disk& files, const std::string& name) {
  const auto value = files.metrics().back().at(name);
  const json next = std::nextafter(value.get<double>(), 1e9);
  change(files.folder() / "metrics.jsonl", '"' + name + "\":" + value.dump(), '"' + name + "\":" + next.dump());
  return ": " + name + " was";
}

/// Changes a run's files, whose replay must then say what `how` returns, and puts them back.
void check_named(const run_on_disk& files, const std::function<std::string()>& how) {
  const auto record = files.folder() / "replay.jsonl", metrics = files.folder() / "metrics.jsonl";
  const auto as_recorded = read_file(record), as_measured = read_file(metrics);
  const auto wanted = how();
  const auto other = replayed(files.folder());
  CAPTURE(wanted);
  CAPTURE(other.err);
  CHECK(other.status == 1);
  CHECK(says(other, wanted));
  write_file(record, as_recorded);
  write_file(metrics, as_measured);
}

strings with(strings sets, const strings& more) {
  for (const auto& set : more)
    sets.insert(sets.end(), {"--set", set});
  return sets;
}

void run_well(const strings& command) {
  const auto done = run_to_end(command);
  CAPTURE(done.err);
  REQUIRE(done.status == 0);
}

} // namespace

TEST_CASE("an asynchronous run of several processes is made again bit for bit") {
  const tiny_run run({.steps = 8, .preset = "bounded", .reference = true, .max_new_tokens = 48});
  run_well(run.start(placed_apart(true)));
  const auto folder = run.files().folder();
  const auto last = record_of(run.files()).back();
  CHECK(last.at("groups").at(0).at("answers").at(0).at(0) < last.at("version")); // it was trained by a later version
  check_same(folder, 8);

  check_named(run.files(), [&] {
    const auto group = record_of(run.files()).at(2).at("groups").at(1);
    change(folder / "replay.jsonl", group.at("checksum"), "0123456789abcdef");
    return "the first difference is in step 3: group " + group.at("group").dump() + ":";
  });
  check_named(run.files(), [&]() -> std::string { // to the last digit
    const auto loss = run.files().metrics().at(3).at("actor/pg_loss");
    const json next = std::nextafter(loss.get<double>(), 1e9);
    change(folder / "metrics.jsonl", "\"actor/pg_loss\":" + loss.dump(), "\"actor/pg_loss\":" + next.dump());
    return "the first difference is in step 4: actor/pg_loss was";
  });
}

TEST_CASE("of answers that were begun those that were kept are made again") {
  const tiny_run run({.steps = 6, .preset = "bounded", .max_new_tokens = 48});
  auto how = placed_apart(false);
  how.insert(how.end(), {"--set", "schedule.tail.oversample_attempts=1.5", "--set", "roles.rollout.slots=5", "--set",
                         "roles.rollout.stop=[\"j\", \"q\", \"x\"]"}); // lengths differ
  const auto first = run_to_end(run.start(how));
  CAPTURE(first.err);
  REQUIRE(first.status == 0);
  const auto folder = run.files().folder();
  bool left_out = false;
  for (const auto& line : record_of(run.files()))
    for (const auto& group : line.at("groups")) {
      REQUIRE(group.at("answers").size() == 4);
      REQUIRE(group.at("kept").size() == 4);
      left_out = left_out || group.at("kept") != nlohmann::json{0, 1, 2, 3};
    }
  CHECK(left_out);
  const auto again = run_to_end(command_line({"replay", folder.string()}));
  CAPTURE(again.err);
  CHECK(again.status == 0);
  CHECK(again.err.find("6 steps, every one the same bit for bit") != std::string::npos);
}

TEST_CASE("masked answers are made again as they were trained") {
  const tiny_run run({.steps = 4});
  run_well(run.start({"--set", "roles.learner.mask_truncated=true"}));
  check_same(run.files().folder(), 4);
}

TEST_CASE(
    "a critic beside an asynchronous policy is made again: its values under the weights that said them, its losses") {
  const tiny_run run({.steps = 8, .preset = "bounded", .reference = true, .critic = true, .max_new_tokens = 48});
  run_well(run.start(with(placed_apart(true), {"placement.critic.processes=1"})));
  const auto files = run.files();
  bool trained_later = false; // than it was valued
  for (const auto& line : record_of(files))
    for (const auto& group : line.at("groups"))
      trained_later = trained_later || group.at("origins").at("value").at(0) < line.at("version");
  CHECK(trained_later);
  check_same(files.folder(), 8);

  check_named(files, [&] { return with_other_weights(files, "value"); });
  check_named(files, [&] { return with_other_figure(files, "critic/vf_loss"); });
  check_named(files, [&] { return with_other_figure(files, "critic/values/mean"); });
  check_named(files, [&]() -> std::string { // weights that it never had
    change_record(files, [](auto& lines) { group_with_later(lines, "value").at("origins").at("value").at(0) = 99; });
    return "the critic after 99 updates is wanted";
  });
  check_named(files, [&]() -> std::string { // as a build wrote it that did not write them down
    change_record(files, [](auto& lines) {
      for (auto& line : lines)
        for (auto& group : line.at("groups"))
          group.erase("origins");
    });
    return "the record does not say with which weights `value` was computed";
  });
}

TEST_CASE("V-trace's critic, alone at first, and steps in parts are made again") {
  const tiny_run run({.steps = 6, .preset = "streaming", .critic = true});
  run_well(run.start(with(placed_apart(false), {"placement.critic.processes=1", "roles.learner.algorithm=vtrace",
                                                "roles.critic.alone_steps=2"})));
  const auto record = record_of(run.files());
  REQUIRE(record.size() > 6);
  CHECK(record.back().at("groups").at(0).at("origins").at("value").at(0) > 6); // an update a part
  check_same(run.files().folder(), 6);
}

TEST_CASE("a reference that follows the policy is made again with what it was when it scored a group") {
  const tiny_run run({.steps = 8, .preset = "bounded", .reference = true, .max_new_tokens = 48});
  strings follows;
  SUBCASE("an average") {
    follows = {"roles.frozen.ema=0.5"};
  }
  SUBCASE("taken anew every second step") {
    follows = {"roles.frozen.refresh_every=2"};
  }
  run_well(run.start(with(placed_apart(true), follows)));
  CHECK(run.files().metrics().back().at("actor/kl_loss") != 0);
  check_same(run.files().folder(), 8);
  if (follows.front().find("ema") != std::string::npos) // else the version before is none that it took up
    check_named(run.files(), [&] { return with_other_weights(run.files(), "ref_logprob"); });
}

TEST_CASE("a reward model's scores are made again and its figures compared") {
  const tiny_run ppo({.steps = 3, .critic = true});
  run_well(ppo.start());
  const auto judge = ppo.files().folder() / "checkpoints/step-000003/critic/model";
  const temporary_folder folder;
  auto text = text_of({.steps = 6, .preset = "bounded", .max_new_tokens = 48});
  const auto put_before = [&](const std::string& what, const std::string& more) { text.insert(text.find(what), more); };
  put_before("[roles.prompts]", "[models.judge]\npath = \"" + judge.string() + "\"\n");
  put_before("[roles.learner]",
             "[roles.judge]\nkind = \"reward_model\"\nfrom = [\"rollout\"]\nmodel = \"judge\"\nclip = 5.0\n");
  put_before("algorithm = \"grpo\"",
             "rewards = [ { name = \"late\" }, { name = \"judge\", weight = 0.5, normalise = \"group\" } ]\n");
  text.replace(text.find("from = [\"rules\"]"), 16, "from = [\"rules\", \"judge\"]");
  write_file(folder / "judged.toml", text);
  auto command = command_line({"run", (folder / "judged.toml").string(), "--output", (folder / "run").string()});
  const auto sets = with(placed_apart(false), {"placement.judge.processes=2"});
  command.insert(command.end(), sets.begin(), sets.end());
  run_well(command);
  const run_on_disk files(folder / "run");
  CHECK(files.metrics().back().at("rewards/judge/mean") != 0);
  check_same(files.folder(), 6);
  check_named(files, [&] { return with_other_figure(files, "rewards/judge/mean"); });
}

TEST_CASE("groups of several sources are made again and their figures compared") {
  const tiny_run run({.steps = 6,
                      .preset = "bounded",
                      .max_new_tokens = 24,
                      .source = "sources = [ { name = \"sums\", weight = 2, generator = { type = \"arithmetic\" } },"
                                " { name = \"products\", generator = { type = \"arithmetic\", operation = "
                                "\"multiply\" } } ]"});
  run_well(run.start());
  check_same(run.files().folder(), 6);
  check_named(run.files(), [&] { return with_other_figure(run.files(), "reward/products"); });
}

TEST_CASE("supervised runs are made again out of their rows") {
  const strings apart =
      with({}, {"placement.answers.processes=1", "placement.learner.processes=1", "schedule.preset=bounded"});
  const auto pairs = demonstrations("form = \"preference\"");
  const auto check = [&](const std::string& rows, const std::string& roles) {
    const supervised_run run(rows, roles, 5);
    const auto files = run.to_end(apart);
    check_same(files.folder(), 5);
    check_named(files, [&]() -> std::string {
      change_record(files, [](auto& lines) {
        lines.at(1).at("groups").at(0).at("checksum") = "0123456789abcdef";
      }); // rows come again: so do checksums
      return "the first difference is in step 2: group";
    });
  };
  SUBCASE("sft") {
    check(chat_rows,
          demonstrations()
              + policy("\"answers\"", "algorithm = \"sft\"\noptimizer = { lr = 0.01 }\nlora = { rank = 4 }"));
  }
  SUBCASE("dpo") {
    check(preference_rows, pairs + "[roles.frozen]\nkind = \"reference\"\nfrom = [\"answers\"]\nmodel = \"tiny\"\n"
                               + policy("\"answers\", \"frozen\"", "algorithm = \"dpo\"\noptimizer = { lr = 0.003 }"));
  }
  SUBCASE("bradley_terry") {
    check(preference_rows, pairs + policy("\"answers\"", "algorithm = \"bradley_terry\"\noptimizer = { lr = 0.01 }"));
  }
}

TEST_CASE("greedy answers, a KL coefficient that adapts, and an algorithm of domains are made again") {
  strings sets;
  SUBCASE("ReMax's baseline") {
    sets = {"roles.rollout.greedy_baseline=true", "roles.learner.algorithm=remax", "roles.rollout.slots=20"};
  }
  SUBCASE("a coefficient after each step's KL") {
    sets = {"roles.learner.loss.kl_target=0.01", "roles.learner.loss.kl_horizon=100"};
  }
  SUBCASE("domains") {
    sets = {"roles.learner.algorithm=drpo_domain"};
  }
  const tiny_run run({.steps = 6, .preset = "bounded", .reference = true, .max_new_tokens = 48});
  run_well(run.start(with(placed_apart(true), sets)));
  check_same(run.files().folder(), 6);
  check_named(run.files(), [&] { return with_other_figure(run.files(), "kl/coefficient"); });
}

TEST_CASE("a run that was killed and resumed under other settings is made again session by session") {
  const tiny_run run({.steps = 60,
                      .preset = "streaming",
                      .reference = true,
                      .critic = true,
                      .run = "checkpoint_every = 3\ntrace = false\n"});
  const auto files = run.files();
  const auto sets = with(placed_apart(true), {"placement.critic.processes=1", "roles.frozen.ema=0.5"});
  const auto kill_behind_checkpoint = [&](const strings& command, const std::string& least) {
    running_command running(command);
    REQUIRE(wait_until([&] {
      std::error_code ignored;
      for (const auto& entry : std::filesystem::directory_iterator(files.folder() / "checkpoints", ignored))
        if (const auto name = entry.path().filename().string(); name.starts_with("step-") && name >= least)
          return true;
      return running.ended().has_value();
    }));
    CAPTURE(running.err());
    REQUIRE_FALSE(running.ended().has_value());
    running.signal(SIGKILL);
    running.wait();
  };
  kill_behind_checkpoint(run.start(sets), "step-000003");
  kill_behind_checkpoint(run.resume({"--set", "roles.learner.optimizer.lr=0.004"}), "step-000009");
  run_well(run.resume({"--set", "run.steps=24", "--set", "roles.rollout.max_new_tokens=12"}));
  const auto record = record_of(files);
  CHECK_FALSE(record.front().contains("session"));
  CHECK(record.back().at("session") == 3);
  check_same(files.folder(), 24);
  check_named(files, [&] {
    const auto group = record.back().at("groups").at(0);
    change(files.folder() / "replay.jsonl", group.at("checksum"), "0123456789abcdef");
    return "the first difference is in step 24: group " + group.at("group").dump() + ":";
  });
}

TEST_CASE("a run of several stages is made again stage by stage") {
  const staged_pipeline run("deepspeed_chat", {"sft", "reward", "ppo"});
  const auto command =
      run.start({"stage.sft.roles.rows.file=chat.jsonl", "stage.reward.roles.rows.file=pairs.jsonl",
                 "stage.ppo.roles.prompts.file=prompts.jsonl", "stage.ppo.roles.learner.pretraining.file=text.jsonl"});
  run_well(with(brief(command, {"ppo"}), {"stage.ppo.roles.learner.optimizer.warmup_steps=0",
                                          "stage.ppo.roles.critic.optimizer.warmup_steps=0"}));
  const auto again = replayed(run.folder());
  CAPTURE(again.err);
  CHECK(again.status == 0);
  for (const char* stage : {"sft", "reward", "ppo"})
    CHECK(says(again, "2 steps of stage " + std::string(stage) + ", every one the same bit for bit"));
  const auto wanted = with_other_figure(run.stage(1), "preference/accuracy");
  const auto other = replayed(run.folder());
  CHECK(other.status == 1);
  CHECK(says(other, "the first difference is in step 2 of stage reward" + wanted));
}

} // namespace replay_test
