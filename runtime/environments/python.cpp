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
    .options = with_process_options(python_options("class", "reset or step")),
    .make = make_python,
    .rewrites = true};

} // namespace millrace::environments
