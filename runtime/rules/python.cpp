#include "runtime/rules/worker_rule.hpp"

namespace millrace::rules {

extern const rule_type python;

namespace {

std::unique_ptr<rule> make_python(const option_values& given) {
  const auto text = [&](const char* name) { return std::get<std::string>(given.at(name)); };
  const std::string style = text("style");
  auto settings = reward_worker(given, text("file"), text("function"), style);
  settings.groups = style != "verl";
  settings.prompts = text("prompts");
  return std::make_unique<worker_rule>(std::move(settings));
}

std::vector<option> python_options() {
  return with_worker_options(
      {{.name = "file",
        .fallback = std::string(),
        .allowed = needed(),
        .meaning = "the Python file that holds the function; relative to the pipeline file's folder",
        .path = true},
       {.name = "function",
        .fallback = std::string("compute_score"),
        .allowed = any(),
        .meaning = "its name in the file"},
       {.name = "style",
        .fallback = std::string("verl"),
        .allowed = one_of({"verl", "trl", "openrlhf"}),
        .meaning = "whose way of calling it knows; all but verl's get a group's answers together"},
       {.name = "python",
        .fallback = std::string("python3"),
        .allowed = any(),
        .meaning = "the interpreter: a path, or a name to look for in PATH; 3.8 or later"},
       {.name = "prompts",
        .fallback = std::string("auto"),
        .allowed = one_of({"auto", "text", "messages"}),
        .meaning = "how style trl gets prompts and completions; auto = messages where a row has several turns"}});
}

} // namespace

const rule_type python{.name = "python",
                       .meaning = "what a Python function of yours returns, called as verl, TRL or OpenRLHF call it",
                       .options = python_options(),
                       .make = make_python,
                       .outside = true};

} // namespace millrace::rules
