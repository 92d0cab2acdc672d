#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace millrace::tools {

/// Where the value of an argument goes. A bool is set by a flag; a vector collects every value that is given.
using destination = std::variant<bool*, int*, std::uint32_t*, std::int64_t*, std::uint64_t*, double*,
                                 std::optional<int>*, std::optional<double>*, std::string*, std::filesystem::path*,
                                 std::vector<int>*, std::vector<std::string>*, std::vector<std::filesystem::path>*>;

/// Which numbers an argument takes.
enum class sign : std::uint8_t { any, positive, not_negative };

/// One argument of a command: "--set" is given by its name, "FILE" by its place.
struct argument {
  std::string name;
  destination to;
  std::string help = {};
  bool required = false;
  bool shows_default = false; ///< the help shows what `to` holds before the line is read
  bool one_at_a_time = false; ///< a vector by name: each `--name` takes one value
  int count = 0;              ///< a vector by place: exactly so many values; 0: any number
  sign numbers = sign::any;
  std::optional<std::pair<double, double>> between = {}; ///< a number from the first to the second
  std::vector<std::string> one_of = {};                  ///< the words that are taken
  std::map<std::string, int> words = {};                 ///< words that stand for a number; `to` is an int
};

/// Arguments of which exactly one must be given.
struct argument_choice {
  std::string name;
  std::string help;
  std::vector<argument> arguments;
};

/// One subcommand, as data: tools/command_line.cpp reads the line by it.
struct command {
  std::string name;
  std::string help;
  std::string footer = {}; ///< printed after the help
  std::vector<argument> arguments = {};
  std::vector<argument_choice> choices = {};
  std::vector<command> commands = {}; ///< its own subcommands, one of which must be given
  bool hidden = false;                ///< not for people: missing in the list
  /// What the command does once the line is read; returns the exit status. Bad input is thrown as `input_error`. The
  /// function keeps alive what the arguments point into.
  std::function<int()> run = {};
};

// Each is in tools/commands/<name>.cpp.
command run_command();
command resume_command();
command check_command();
command metrics_command();
command graph_command();
command plan_command();
command schedule_command();
command status_command();
command view_command();
command report_command();
command replay_command();
command convert_command();
command generate_command();
command evaluate_command();
command score_command();
command serve_command();
command verify_command();
command tokenize_command();
command algorithm_command();
command node_command();
command job_command();
command slurm_command();
command kubernetes_command();
command launch_command();
command worker_command();

} // namespace millrace::tools
