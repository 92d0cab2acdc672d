#include "runtime/environments/outside_environment.hpp"
#include "runtime/words/input_error.hpp"

namespace millrace::environments {

extern const environment_type program;

namespace {

std::unique_ptr<environment> make_program(const option_values& given) {
  auto settings = process_settings(given);
  settings.command.frames = workers::framing::line;
  settings.command.arguments = std::get<std::vector<std::string>>(given.at("command"));
  if (settings.command.arguments.empty() || settings.command.arguments.front().empty())
    throw input_error("command: found nothing, want a program and its arguments");
  return std::make_unique<outside_environment>(std::move(settings));
}

} // namespace

const environment_type program{
    .name = "program",
    .meaning =
        "a program of yours, JSON lines on stdin and stdout: \"begin\" and \"step\" are answered, \"end\" is not",
    .options = with_process_options({{.name = "command",
                                      .fallback = std::vector<std::string>(),
                                      .allowed = needed(),
                                      .meaning = "the program and its arguments; it starts when it is first needed"}}),
    .make = make_program,
    .rewrites = true};

} // namespace millrace::environments
