#include "runtime/input_error.hpp"
#include "runtime/pipeline/errors.hpp"
#include "tools/command.hpp"

#include <cstdio>
#include <map>
#include <string_view>
#include <unistd.h>
#include <vector>

namespace {

/// OpenMP threads that wait for work spin by default, and on a machine whose cores several roles share that costs them
/// several times their speed; UCX by default catches crashes and prints backtraces without end. Both libraries read
/// their environment once, when they are loaded: so set it and start again. That comes before any library's own set-up,
/// since LibTorch's takes a quarter of a second, and therefore does with what the system gives to a new process.
void start_with_environment(int, char** argv, char** environment) {
  static char passive[] = "OMP_WAIT_POLICY=PASSIVE", no_handlers[] = "UCX_HANDLE_ERRORS=none";
  const auto given = [](char** entry, std::string_view assignment) {
    return std::string_view(*entry).starts_with(assignment.substr(0, assignment.find('=') + 1));
  };
  std::vector<char*> more;
  bool handlers_given = false;
  for (; *environment != nullptr; ++environment) {
    if (given(environment, passive))
      return;
    handlers_given = handlers_given || given(environment, no_handlers);
    more.push_back(*environment);
  }
  more.push_back(passive);
  if (!handlers_given)
    more.push_back(no_handlers);
  more.push_back(nullptr);
  execve("/proc/self/exe", argv, more.data()); // if the system refuses, everything works, only slower
}

[[gnu::section(".preinit_array"), gnu::used]] void (*const before_libraries)(int, char**, char**) = start_with_environment;

using millrace::tools::command;

/// Parses the line and runs the one subcommand named on it.
int run(int argc, char** argv) {
  CLI::App root{"Millrace trains reasoning models with asynchronous reinforcement learning: a pipeline is a TOML file.",
                "millrace"};
  root.set_version_flag("--version", MILLRACE_VERSION);
  root.require_subcommand(1);
  root.failure_message(CLI::FailureMessage::help);
  std::map<std::string, command> commands;
  namespace t = millrace::tools;
  const auto add = [&](command (*adder)(CLI::App&)) {
    const auto before = root.get_subcommands([](CLI::App*) { return true; }).size();
    command c = adder(root);
    commands.emplace(root.get_subcommands([](CLI::App*) { return true; }).at(before)->get_name(), std::move(c));
  };
  for (auto* adder : {t::add_run, t::add_resume, t::add_check, t::add_graph, t::add_plan, t::add_schedule, t::add_status, t::add_report, t::add_replay, t::add_convert,
                      t::add_generate, t::add_evaluate, t::add_score, t::add_tokenize, t::add_algorithm, t::add_node, t::add_worker})
    add(adder);
  root.failure_message(CLI::FailureMessage::simple);
  try {
    root.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return root.exit(error) == 0 ? 0 : 2;
  }
  return commands.at(root.get_subcommands().at(0)->get_name())();
}

} // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const millrace::pipeline::pipeline_errors& errors) {
    std::fprintf(stderr, "%s\n", errors.what()); // each line begins with file:line:column
    return 1;
  } catch (const millrace::input_error& error) {
    std::fprintf(stderr, "millrace: %s\n", error.what());
    return 1;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "millrace: internal error: %s\n", error.what());
    return 70;
  }
}
