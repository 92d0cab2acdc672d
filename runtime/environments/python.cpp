#include "runtime/environments/outside_environment.hpp"
#include "runtime/workers/python_workers.hpp"

namespace millrace::environments {

extern const environment_type python;

namespace {

std::unique_ptr<environment> make_python(const option_values& given) {
  const auto text = [&](const char* name) { return std::get<std::string>(given.at(name)); };
  auto settings = process_settings(given);
  settings.greets = true;
  settings.command.arguments = {
      text("python"), "-c",          workers::environment_worker_script,
      text("file"),   text("class"), std::to_string(std::get<std::int64_t>(given.at("call_threads")))};
  return std::make_unique<outside_environment>(std::move(settings));
}

} // namespace

const environment_type python{
    .name = "python",
    .meaning = "a class of yours with reset(row) -> messages and step(messages) -> (messages, reward, done), plain or "
               "async",
    .options = with_process_options(
        {{.name = "file",
          .fallback = std::string(),
          .allowed = needed(),
          .meaning = "the Python file that holds the class; relative to the pipeline file's folder",
          .path = true},
         {.name = "class", .fallback = std::string(), .allowed = needed(), .meaning = "its name in the file"},
         {.name = "python",
          .fallback = std::string("python3"),
          .allowed = any(),
          .meaning = "the interpreter: a path, or a name to look for in PATH; 3.8 or later"},
         {.name = "call_threads",
          .fallback = std::int64_t{32},
          .allowed = between(1, 4096),
          .meaning = "calls of a plain reset or step that one process makes at once; async ones are not counted"}}),
    .make = make_python};

} // namespace millrace::environments
