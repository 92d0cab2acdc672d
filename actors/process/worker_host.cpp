#include "actors/process/worker_host.hpp"

#include "actors/process/process_agent.hpp"
#include "actors/protocol/system.hpp"
#include "actors/protocol/wire_bytes.hpp"
#include "runtime/access/key.hpp"
#include "runtime/access/socket_calls.hpp"
#include "runtime/cluster/credentials.hpp"
#include "runtime/cluster/descriptors.hpp"
#include "runtime/cluster/endpoint.hpp"
#include "runtime/cluster/gpus.hpp"
#include "runtime/cluster/grace.hpp"
#include "runtime/cluster/signals.hpp"
#include "runtime/pipeline/located.hpp"
#include "runtime/supervision/placed_processes.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/transport/interface.hpp"
#include "runtime/words/input_error.hpp"
#include "runtime/words/milliseconds.hpp"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <mutex>
#include <optional>

namespace millrace::actors {
namespace {

constexpr auto join_deadline = std::chrono::seconds(20);

handle<decides> find_coordinator(actor_system& system, const worker_options& options) {
  const auto found = system.find({options.coordinator_host, options.coordinator_port},
                                 options.host.empty() ? encryption::none : encryption::mutual_tls);
  if (!found.who)
    throw input_error("no run at " + cluster::text_of({options.coordinator_host, options.coordinator_port}) + ": "
                      + found.why);
  return handle<decides>(found.who);
}

/// Takes a secret out of the environment, so that processes started from here do not inherit it.
std::string secret_from_environment(const char* variable) {
  const char* text = std::getenv(variable);
  if (!text)
    throw input_error(std::string(variable) + ": not set; this command is for processes that a run starts");
  std::string result = text;
  unsetenv(variable);
  return result;
}

access::key256 key_from_environment(const char* variable) {
  const auto key = access::key_from_hex(secret_from_environment(variable));
  if (!key)
    throw input_error(std::string(variable) + ": want 64 digits 0-9a-f");
  return *key;
}

welcome join(actor_system& system, const handle<decides>& coordinator, const worker_options& options) {
  const auto token = secret_from_environment(token_variable);
  const auto answer = system.ask_and_wait(coordinator, join_run{token, options.role}, join_deadline);
  if (const auto* why = std::get_if<refusal>(&answer))
    throw input_error((why->by_the_asked ? "the run does not let this process in: " : "cannot join the run: ")
                      + why->line);
  return std::get<welcome>(answer);
}

} // namespace

std::string gpu_of_host(std::uint32_t gpu) {
  auto there = cluster::visible_gpus();
  if (gpu >= there.size())
    throw input_error(supervision::lacks_gpu(gpu, there.size()));
  return std::move(there[gpu]);
}

std::vector<std::string> worker_arguments(const worker_options& o) {
  std::vector<std::string> arguments{"worker",
                                     "--connect",
                                     cluster::text_of({o.coordinator_host, o.coordinator_port}),
                                     "--role",
                                     o.role.role,
                                     "--index",
                                     std::to_string(o.role.index),
                                     "--incarnation",
                                     std::to_string(o.role.incarnation),
                                     "--heartbeat-ms",
                                     std::to_string(o.heartbeat_ms),
                                     "--peer-timeout-ms",
                                     std::to_string(o.peer_timeout_ms)};
  if (!o.host.empty())
    arguments.insert(arguments.end(), {"--host", o.host});
  return arguments;
}

namespace {

/// A process may be started while its host is cut off.
void wait_for_cable(const std::string& bind, std::chrono::milliseconds within) {
  if (transport::wait_until_up(bind, {}))
    return;
  telemetry::log_warning("data plane", "the interface of " + bind + " is down: waiting for it");
  transport::wait_until_up(bind, within);
}

/// Serves the run that has let this process in, until it is told to end.
void serve(actor_system& system, const handle<decides>& coordinator, const worker_options& options,
           const welcome& run) {
  auto p = std::make_shared<const pipeline::pipeline>(
      pipeline::parse_pipeline(run.pipeline, "the run's resolved.toml", "/"));
  transport::data_plane_options data_options;
  data_options.node = run.node;
  std::transform(run.run_key.begin(), run.run_key.end(), data_options.key.begin(),
                 [](std::uint8_t byte) { return std::byte{byte}; });
  data_options.transport = transport::wire_from(p->placement.transport);
  data_options.bind = options.host.empty() ? run.bind : cluster::address_towards(options.coordinator_host);
  data_options.ports = p->placement.data_port_range();
  data_options.tell = [](const std::string& line) { telemetry::log_warning("data plane", line); };
  data_options.encrypt = p->placement.encrypt;
  wait_for_cable(data_options.bind, milliseconds_of(p->run.join_deadline_s));
  pipeline::located(*p, "placement.transport", [&] { transport::check_wire(data_options.transport); });
  auto data = std::make_shared<transport::data_plane>(data_options);

  std::promise<std::string> ended;
  std::once_flag once;
  const auto agent = system.start("process_agent", process_agent({.pipeline = p,
                                                                  .node = run.node,
                                                                  .data = data,
                                                                  .coordinator = coordinator,
                                                                  .start = system.how_to_start(),
                                                                  .on_end = [&](const std::string& why) {
                                                                    std::call_once(once, [&] { ended.set_value(why); });
                                                                  }}));
  tell(coordinator, process_up{.node = run.node,
                               .pid = getpid(),
                               .host = options.host,
                               .agent = handle<hosts_roles>(agent),
                               .address = wire_bytes(data->address()),
                               .roles = {options.role}});
  ended.get_future().wait();
  // Roles may be in the middle of a decode step or a training step: nothing here outlives the run, so just go.
  _exit(0);
}

} // namespace

int run_worker(const worker_options& options) {
  cluster::survive_refused_writes();
  cluster::raise_descriptor_limit();
  std::optional<cluster::credentials> secret;
  cluster::actor_options actor_options;
  actor_options.heartbeat_ms = options.heartbeat_ms;
  actor_options.peer_timeout_ms = options.peer_timeout_ms;
  if (!options.host.empty()) {
    secret.emplace(cluster::root_key{key_from_environment(root_variable)});
    actor_options.tls = secret->files();
  }
  actor_options.keys = {secret ? secret->connection_key() : key_from_environment(key_variable)};
  access::tell_refusals([](const std::string& line) { telemetry::log_warning("ports", line); });
  actor_system system(actor_options);
  const auto coordinator = find_coordinator(system, options);
  const auto run = join(system, coordinator, options);
  try {
    serve(system, coordinator, options, run);
  } catch (const std::exception& error) {
    // The terminal of another host is nobody's: the run must say it.
    system.ask_and_wait(coordinator, process_failed{.role = options.role, .host = options.host, .why = error.what()},
                        std::chrono::seconds(5));
    std::fprintf(stderr, "millrace: %s: %s\n", options.role.name().c_str(), error.what());
    _exit(1);
  }
  return 0;
}

} // namespace millrace::actors
