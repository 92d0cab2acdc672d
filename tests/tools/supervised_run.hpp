#pragma once

#include "tests/tools/tiny_run.hpp"

#include <doctest/doctest.h>

#include <string>

namespace millrace::tests {

inline const std::string chat_rows =
    R"({"messages": [{"role": "user", "content": "one"}, {"role": "assistant", "content": "two three"}]}
{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, )"
    R"({"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}
{"prompt": "four", "completion": "five six"}
{"prompt": "seven", "answer": "8", "extra_info": {"answer": "eight"}}
)";

inline const std::string preference_rows = R"({"prompt": "one", "chosen": "two three", "rejected": "xx"}
{"prompt": "four", "chosen": "two", "rejected": "xx yy"}
{"prompt": "a", "chosen": "b two", "rejected": "y"}
{"prompt": "c", "chosen": "two b", "rejected": "xx y", "margin": 2}
)";

/// A pipeline over written rows with the tiny model, in a folder of its own.
class supervised_run {
public:
  /// @param roles TOML tables between `[roles.rows]` (the source) and `[schedule]`
  supervised_run(const std::string& rows, const std::string& roles, int steps) {
    write_file(folder_ / "rows.jsonl", rows);
    write_file(folder_ / "p.toml", "[run]\nname = \"tiny\"\nseed = 3\nsteps = " + std::to_string(steps)
                                       + "\n[models.tiny]\npath = \"" + tiny_model().string()
                                       + "\"\n[roles.rows]\nkind = \"source\"\nfile = \"rows.jsonl\"\n" + roles
                                       + "\n[schedule]\npreset = \"synchronous\"\ngroups_per_step = 4\n");
  }

  run_on_disk to_end(const strings& more = {}, const std::string& name = "run") const {
    auto command = command_line({"run", (folder_ / "p.toml").string(), "--output", (folder_ / name).string()});
    command.insert(command.end(), more.begin(), more.end());
    const auto done = run_to_end(command);
    CAPTURE(done.err);
    REQUIRE(done.status == 0);
    return run_on_disk(folder_ / name);
  }

private:
  temporary_folder folder_;
};

inline std::string demonstrations(const std::string& more = "") {
  return "[roles.answers]\nkind = \"demonstrations\"\nfrom = [\"rows\"]\nmodel = \"tiny\"\n" + more + '\n';
}

inline std::string policy(const std::string& from, const std::string& more) {
  return "[roles.learner]\nkind = \"policy\"\nfrom = [" + from + "]\nmodel = \"tiny\"\n" + more + '\n';
}

/// A staged pipeline of pipelines/ with the tiny model, written rows, and two steps a stage.
class staged_pipeline {
public:
  staged_pipeline(const std::string& name, const strings& stages) : name_(name), stages_(stages) {
    write_file(folder_ / "chat.jsonl", chat_rows);
    write_file(folder_ / "pairs.jsonl", preference_rows);
    write_file(folder_ / "prompts.jsonl",
               "{\"prompt\": \"one\", \"answer\": \"-\"}\n{\"prompt\": \"a\", \"answer\": \"-\"}\n");
    write_file(folder_ / "sums.jsonl",
               "{\"prompt\": \"one\", \"answer\": \"1\"}\n{\"prompt\": \"a\", \"answer\": \"2\"}\n");
    write_file(folder_ / "text.jsonl", "{\"text\": \"one two three four\"}\n{\"text\": \"a b c d e\"}\n");
  }

  strings start(const strings& files) const {
    strings words{"run",      "pipelines/" + name_ + ".toml",
                  "--output", (folder_ / "run").string(),
                  "--set",    "models.smol.path=" + tiny_model().string()};
    for (const auto& stage : stages_)
      words.insert(words.end(), {"--set", "stage." + stage + ".run.steps=2", "--set",
                                 "stage." + stage + ".schedule.groups_per_step=2"});
    for (const auto& file : files) {
      const auto equals = file.find('=');
      words.insert(words.end(), {"--set", file.substr(0, equals) + '=' + (folder_ / file.substr(equals + 1)).string()});
    }
    return command_line(words);
  }

  std::filesystem::path folder() const { return folder_ / "run"; }

  run_on_disk stage(std::size_t i) const { return run_on_disk(folder() / (std::to_string(i + 1) + '-' + stages_[i])); }

  void check_finished() const {
    for (std::size_t i = 0; i < stages_.size(); ++i) {
      CAPTURE(stages_[i]);
      CHECK(stage(i).status().value("state", "") == "finished");
      CHECK(stage(i).steps() == 2);
    }
  }

private:
  temporary_folder folder_;
  std::string name_;
  strings stages_;
};

inline const strings r1_stages{"cold_start", "reasoning", "rejection", "sft", "all_tasks"};
inline const strings r1_files{"roles.calculations.file=sums.jsonl",
                              "roles.problems.file=sums.jsonl",
                              "stage.cold_start.roles.rows.file=chat.jsonl",
                              "stage.reasoning.roles.questions.file=sums.jsonl",
                              "stage.rejection.roles.questions.file=sums.jsonl",
                              "stage.sft.roles.rows.file=chat.jsonl",
                              "stage.all_tasks.roles.questions.file=sums.jsonl"};

inline strings brief(strings command, const strings& stages) {
  for (const auto& stage : stages)
    command.insert(command.end(), {"--set", "stage." + stage + ".roles.rollout.max_new_tokens=8"});
  return command;
}

} // namespace millrace::tests
