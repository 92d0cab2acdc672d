#include "actors/process/model_check.hpp"

#include "actors/process/run_inputs.hpp"
#include "runtime/supervision/placed_processes.hpp"
#include "runtime/words/input_error.hpp"

#include <chrono>
#include <future>
#include <set>
#include <variant>
#include <vector>

namespace millrace::actors {
namespace {

/// The heads of a model's files and its tokenizer, from a slow file system.
constexpr std::chrono::seconds patience{60};

std::map<std::string, std::set<std::string>> roles_by_host(const pipeline::pipeline& p) {
  std::map<std::string, std::set<std::string>> roles;
  for (const auto& placed : supervision::placed_processes(p))
    roles[placed.host].insert(placed.role.role);
  for (const auto& role : supervision::embedded_roles(p))
    roles[""].insert(role.role);
  return roles;
}

/// @returns a role and why it cannot be started here, or nothing
models_checked first_unreadable(const pipeline::pipeline& p, const check_models& what) {
  for (const auto& role : what.roles)
    try {
      check_model_of(p, role, what.from_checkpoint);
    } catch (const std::exception& error) {
      return {.role = role, .why = error.what()};
    }
  return {};
}

/// @throws input_error if the node does not answer
models_checked ask(actor_system& system, const std::string& host, const handle<starts_processes>& node,
                   const check_models& what) {
  const auto answer = system.ask_and_wait(node, what, patience);
  if (const auto* why = std::get_if<refusal>(&answer))
    throw input_error("node " + host + " does not say whether it can read the models of its roles: " + why->line);
  return std::get<models_checked>(answer);
}

} // namespace

models_checked models_of_this_host(const check_models& what) {
  try {
    return first_unreadable(pipeline::parse_pipeline(what.pipeline, "the run's resolved.toml", "/"), what);
  } catch (const std::exception& error) { // of a path that is not here
    return {.role = what.roles.front(), .why = error.what()};
  }
}

void check_models_of_hosts(actor_system& system, const pipeline::pipeline& p,
                           const std::map<std::string, handle<starts_processes>>& nodes, bool from_checkpoint) {
  const auto resolved = pipeline::resolved_toml(p);
  std::map<std::string, std::future<models_checked>> answers;
  for (const auto& [host, roles] : roles_by_host(p)) {
    check_models what{.pipeline = resolved, .roles = {roles.begin(), roles.end()}, .from_checkpoint = from_checkpoint};
    answers.emplace(host, std::async(std::launch::async, [&, host = host, what = std::move(what)] {
                      return host.empty() ? first_unreadable(p, what) : ask(system, host, nodes.at(host), what);
                    }));
  }
  for (auto& [host, answer] : answers)
    if (const auto found = answer.get(); !found.role.empty())
      throw input_error(found.role + " cannot read its model on " + (host.empty() ? "this host" : host) + ": "
                        + found.why);
}

} // namespace millrace::actors
