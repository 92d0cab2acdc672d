#pragma once

#include "tests/support/running_command.hpp"
#include "tests/support/temporary_folder.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace millrace::tests {

using strings = std::vector<std::string>;

/// The program under test and what is given to it.
std::filesystem::path program();
std::filesystem::path tiny_model();

/// Writes the tiny model with matrices large enough (2 million numbers) that weights are what a network carries.
void write_wide_model(const std::filesystem::path& folder);

/// `millrace ARGUMENTS...`
strings command_line(const strings& arguments);

/// A pipeline that learns, in milliseconds a step, to use some letters more often. Everything else is set by `--set`.
struct tiny_pipeline {
  int steps = 6;
  std::string preset = "synchronous";
  bool reference = false; ///< a frozen model beside the verifier, and a KL term
  bool critic = false;    ///< a critic beside the verifier, and PPO in place of GRPO
  int max_new_tokens = 16;
  std::filesystem::path model = tiny_model();
  std::string source = "generator = { type = \"arithmetic\" }"; ///< lines of the source's table
  std::string run = {};                                         ///< more lines of [run]
};

std::string text_of(const tiny_pipeline& pipeline);

inline constexpr int groups_per_step = 4;

/// The words of both, in order.
strings with(strings words, const strings& more);

/// Two rollouts and one of everything else, each in a process of its own.
strings placed_apart(bool reference);

/// One run's folder as a person finds it.
class run_on_disk {
public:
  explicit run_on_disk(std::filesystem::path folder) : folder_(std::move(folder)) {}

  const std::filesystem::path& folder() const { return folder_; }

  std::vector<nlohmann::ordered_json> metrics() const; ///< whole rows
  std::size_t steps() const;                           ///< rows of steps: those of evaluations are not
  nlohmann::json status() const;                       ///< empty before there is one
  std::string log() const;

  /// Of each row, as they stand in the file: step, reward, loss, gradient norm, KL, entropy, length.
  strings learning_curve() const;

  /// Ids of the groups that were trained, by step, in the order of the file.
  std::map<std::int64_t, std::vector<std::uint64_t>> trained_groups() const;

  /// Bytes that a role's processes have pulled, from whomever.
  std::uint64_t bytes_pulled(const std::string& role) const;

  /// Process id of a role's copy, from the log's last line about it; 0 if there is none.
  pid_t process_of(const std::string& instance) const;

private:
  std::filesystem::path folder_;
};

/// A pipeline file with its run, in a temporary folder.
class tiny_run {
public:
  explicit tiny_run(const tiny_pipeline& pipeline = {});

  strings check(const strings& more = {}) const;  ///< command line of `check`
  strings start(const strings& more = {}) const;  ///< command line of `run`
  strings resume(const strings& more = {}) const; ///< command line of `resume`

  run_on_disk files() const { return run_on_disk(folder_ / "run"); }

  std::filesystem::path operator/(std::string_view name) const { return folder_ / name; }

private:
  temporary_folder folder_;
};

/// The command line of `plan` for the run that a command line of `run` starts.
strings plan_of(strings run);

struct finished_command {
  int status = 0; ///< or minus the signal that ended it
  std::string out;
  std::string err;
};

/// Runs a command to its end, or kills it at the deadline.
finished_command run_to_end(const strings& command, double deadline_s = 30);

/// Waits until the run has done that many steps. @returns false if it ended before, or took longer than the deadline
bool reaches(running_command& running, const run_on_disk& files, std::size_t steps, double deadline_s = 30);

/// Kills a role's process behind the third step, and checks that the run ends well and trains each group once.
void check_goes_on_without(running_command& running, const run_on_disk& files, const std::string& instance, int steps);

/// Checks that every group of `steps` steps was trained exactly once, each in its step: what a synchronous run does.
void check_each_group_once(const run_on_disk& files, int steps);

} // namespace millrace::tests
