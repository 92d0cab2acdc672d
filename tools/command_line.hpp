#pragma once

#include "tools/command.hpp"

#include <span>

namespace millrace::tools {

/// The program as a whole: what `millrace --help` and `millrace --version` print.
struct program {
  std::string name;
  std::string help;
  std::string version;
};

/// Reads the line, prints help if it asks for help, and else runs the one command that it names.
/// @returns the exit status: that of the command, 0 after help, 2 for a line that cannot be read
int run_command_line(const program& about, std::span<const command> commands, int argc, char** argv);

/// The same for a program without subcommands: `only` is the whole of it.
int run_program(const command& only, int argc, char** argv);

} // namespace millrace::tools
