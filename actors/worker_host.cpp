#include "actors/worker_host.hpp"

#include "actors/errors.hpp"
#include "actors/message_types.hpp"
#include "actors/node_agent.hpp"
#include "actors/process_agent_shell.hpp"
#include "actors/wire_bytes.hpp"
#include "runtime/cluster/actor_config.hpp"
#include "runtime/cluster/credentials.hpp"
#include "runtime/cluster/endpoint.hpp"
#include "runtime/cluster/signals.hpp"
#include "runtime/input_error.hpp"
#include "runtime/telemetry/log.hpp"

#include <caf/io/middleman.hpp>
#include <caf/openssl/all.hpp>
#include <caf/scoped_actor.hpp>

#include <csignal>
#include <cstdlib>
#include <future>
#include <optional>
#include <unistd.h>

namespace millrace::actors {
namespace {

constexpr auto join_deadline = std::chrono::seconds(20);

coordinator_actor find_coordinator(caf::actor_system& system, const worker_options& options) {
  auto found = options.secret_file.empty()
                   ? system.middleman().remote_actor<coordinator_actor>(options.coordinator_host, options.coordinator_port)
                   : caf::openssl::remote_actor<coordinator_actor>(system, options.coordinator_host, options.coordinator_port);
  if (!found)
    throw input_error("no run at " + options.coordinator_host + ":" + std::to_string(options.coordinator_port) + ": "
                      + system.render(found.error()));
  return *found;
}

welcome join(caf::actor_system& system, const coordinator_actor& coordinator, const worker_options& options) {
  const char* token = std::getenv(token_variable);
  if (!token)
    throw input_error(std::string(token_variable) + ": not set; this command is for processes that a run starts");
  std::optional<welcome> answer;
  std::string refusal;
  caf::scoped_actor self(system);
  self->request(coordinator, join_deadline, join_run{token, options.role})
      .receive([&](const welcome& w) { answer = w; }, [&](const caf::error& error) { refusal = line_of(error); });
  unsetenv(token_variable);
  if (!answer)
    throw input_error("the run does not let this process in: " + refusal);
  return *answer;
}

} // namespace

std::vector<std::string> worker_arguments(const worker_options& o) {
  std::vector<std::string> arguments{"worker",
                                     "--connect",
                                     o.coordinator_host + ":" + std::to_string(o.coordinator_port),
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
  if (!o.secret_file.empty())
    arguments.insert(arguments.end(), {"--secret-file", o.secret_file});
  if (!o.host.empty())
    arguments.insert(arguments.end(), {"--host", o.host});
  return arguments;
}

int run_worker(const worker_options& options) {
  // A terminal's Ctrl-C reaches every process of the run: the run's own process decides, this one is told.
  std::signal(SIGINT, SIG_IGN);
  std::optional<cluster::credentials> secret;
  cluster::actor_options actor_options;
  actor_options.heartbeat_ms = options.heartbeat_ms;
  actor_options.peer_timeout_ms = options.peer_timeout_ms;
  if (!options.secret_file.empty()) {
    secret.emplace(options.secret_file);
    actor_options.tls = secret->files();
  }
  cluster::actor_config config(actor_options);
  add_message_types(config);
  caf::actor_system system(config);
  const auto coordinator = find_coordinator(system, options);
  const auto run = join(system, coordinator, options);

  auto p = std::make_shared<const pipeline::pipeline>(
      pipeline::parse_pipeline(run.pipeline, "the run's resolved.toml", "/"));
  transport::data_plane_options data_options;
  data_options.node = run.node;
  std::transform(run.run_key.begin(), run.run_key.end(), data_options.key.begin(),
                 [](std::uint8_t byte) { return std::byte{byte}; });
  data_options.transport = transport::wire_from(p->placement.transport);
  data_options.bind = options.host.empty() ? run.bind : cluster::address_towards(options.coordinator_host);
  auto data = std::make_shared<transport::data_plane>(data_options);

  std::promise<std::string> ended;
  std::once_flag once;
  const auto agent = system.spawn(make_process_agent,
                                  process_agent_config{p, run.node, data, coordinator, [&](const std::string& why) {
                                                         std::call_once(once, [&] { ended.set_value(why); });
                                                       }});
  caf::anon_send(coordinator, process_up{run.node, getpid(), options.host, agent, wire_bytes(data->address()), {options.role}});
  ended.get_future().wait();
  // Roles may be in the middle of a decode step or a training step: nothing here outlives the run, so just go.
  _exit(0);
}

int run_node(const std::string& listen, const std::string& secret_file) {
  std::promise<void> stopped;
  const cluster::stop_signals signals([&](const char*, int count) {
    if (count == 1)
      stopped.set_value();
  });
  const auto where = cluster::parse_endpoint(listen);
  const cluster::credentials secret{std::filesystem::path(secret_file)};
  cluster::actor_options options;
  options.tls = secret.files();
  cluster::actor_config config(options);
  add_message_types(config);
  caf::actor_system system(config);
  const auto processes = std::make_shared<node_processes>(std::filesystem::absolute(secret_file).string());
  const auto agent = caf::actor_cast<node_actor>(system.spawn(make_node_agent, processes));
  const auto port = caf::openssl::publish(agent, where.port, where.address.c_str());
  if (!port) {
    caf::anon_send_exit(agent, caf::exit_reason::user_shutdown);
    throw input_error("cannot listen on " + listen + ": is the port in use, or the address not this host's? ("
                      + system.render(port.error()) + ")");
  }
  telemetry::log_info("node", "listening on " + where.address + ":" + std::to_string(*port) + " (TLS, by the secret in "
                                  + secret_file + "); Ctrl-C ends it");
  stopped.get_future().wait();
  caf::anon_send_exit(agent, caf::exit_reason::user_shutdown);
  return 0;
}

} // namespace millrace::actors
