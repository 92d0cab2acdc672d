#include "runtime/environments/outside_environment.hpp"
#include "runtime/workers/python_workers.hpp"

namespace millrace::environments {

extern const environment_type verifiers;

namespace {

std::unique_ptr<environment> make_verifiers(const option_values& given) {
  auto settings = process_settings(given);
  settings.greets = true;
  settings.command.arguments = {
      std::get<std::string>(given.at("python")),          "-c", workers::verifiers_worker_script, "",
      std::get<std::string>(given.at("raising_rewards")), "1"};
  return std::make_unique<outside_environment>(std::move(settings));
}

} // namespace

const environment_type verifiers{
    .name = "verifiers",
    .meaning = "the environment of the package verifiers that the row is of: its tools and replies, and its rubric's "
               "reward with the last turn",
    .options = with_process_options({{.name = "python",
                                      .fallback = std::string("python3"),
                                      .allowed = any(),
                                      .meaning = "a Python that has verifiers and the environment: a path, or a name "
                                                 "to look for in PATH"},
                                     {.name = "raising_rewards",
                                      .fallback = std::string("fail"),
                                      .allowed = one_of({"fail", "zero"}),
                                      .meaning = "what a reward function that raises means: fail = the group begins "
                                                 "anew; zero = 0, as verifiers has it"}}),
    .make = make_verifiers,
    .rewrites = true};

} // namespace millrace::environments
