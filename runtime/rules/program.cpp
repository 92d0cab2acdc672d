#include "runtime/rules/worker_rule.hpp"
#include "runtime/words/input_error.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

namespace millrace::rules {

extern const rule_type program;

namespace {

bool has_folder(const std::string& program) {
  return program.find('/') != std::string::npos;
}

/// Whether the system would start it: a file by its path, or by its name in a folder of PATH.
bool is_runnable(const std::string& program) {
  const auto is_program = [](const std::string& file) {
    std::error_code ignored;
    return std::filesystem::is_regular_file(file, ignored) && ::access(file.c_str(), X_OK) == 0;
  };
  if (has_folder(program))
    return is_program(program);
  const char* path = std::getenv("PATH");
  std::stringstream folders(path ? path : "/bin:/usr/bin");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (is_program((folder.empty() ? "." : folder) + '/' + program))
      return true;
  return false;
}

std::unique_ptr<rule> make_program(const option_values& given) {
  worker_settings settings{.form = question_form::row};
  take_worker_options(given, settings);
  settings.command.frames = workers::framing::line;
  settings.command.arguments = std::get<std::vector<std::string>>(given.at("command"));
  if (settings.command.arguments.empty() || settings.command.arguments.front().empty())
    throw input_error("rule program: command: found nothing, want a program and its arguments");
  if (const auto& program = settings.command.arguments.front(); !is_runnable(program))
    settings.unusable = "command: found no program \"" + program + "\"" + (has_folder(program) ? "" : " in PATH");
  return std::make_unique<worker_rule>(std::move(settings));
}

std::vector<option> program_options() {
  return with_worker_options({{.name = "command",
                               .fallback = std::vector<std::string>(),
                               .allowed = needed(),
                               .meaning = "the program and its arguments; it reads and writes a JSON object a line"}});
}

} // namespace

const rule_type program{.name = "program",
                        .meaning = "what a program of yours answers, JSON lines on stdin and stdout",
                        .options = program_options(),
                        .make = make_program,
                        .outside = true};

} // namespace millrace::rules
