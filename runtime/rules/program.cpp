#include "runtime/rules/worker_rule.hpp"
#include "runtime/words/input_error.hpp"

namespace millrace::rules {

extern const rule_type program;

namespace {

std::unique_ptr<rule> make_program(const option_values& given) {
  worker_settings settings{.form = question_form::row};
  take_worker_options(given, settings);
  settings.command.frames = workers::framing::line;
  settings.command.arguments = std::get<std::vector<std::string>>(given.at("command"));
  if (settings.command.arguments.empty() || settings.command.arguments.front().empty())
    throw input_error("rule program: command: found nothing, want a program and its arguments");
  return std::make_unique<worker_rule>(std::move(settings));
}

std::vector<option> program_options() {
  std::vector<option> options{{.name = "command",
                               .fallback = std::vector<std::string>(),
                               .allowed = needed(),
                               .meaning = "the program and its arguments; it reads and writes a JSON object a line"}};
  for (option& o : worker_options())
    options.push_back(std::move(o));
  return options;
}

} // namespace

const rule_type program{.name = "program",
                        .meaning = "what a program of yours answers, JSON lines on stdin and stdout",
                        .options = program_options(),
                        .make = make_program,
                        .outside = true};

} // namespace millrace::rules
