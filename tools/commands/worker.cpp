#include "actors/worker_host.hpp"
#include "runtime/cluster/endpoint.hpp"
#include "tools/command.hpp"

#include <memory>

namespace millrace::tools {

command add_worker(CLI::App& root) {
  struct options {
    std::string connect;
    actors::worker_options worker;
  };
  auto o = std::make_shared<options>();
  auto* app = root.add_subcommand("worker", "A process that a run starts for one of its roles; not for people")->group("");
  app->add_option("--connect", o->connect)->required();
  app->add_option("--role", o->worker.role.role)->required();
  app->add_option("--index", o->worker.role.index)->required();
  app->add_option("--incarnation", o->worker.role.incarnation)->required();
  app->add_option("--secret-file", o->worker.secret_file);
  app->add_option("--host", o->worker.host);
  app->add_option("--heartbeat-ms", o->worker.heartbeat_ms);
  app->add_option("--peer-timeout-ms", o->worker.peer_timeout_ms);
  return [o] {
    const auto where = cluster::parse_endpoint(o->connect);
    o->worker.coordinator_host = where.address;
    o->worker.coordinator_port = where.port;
    return actors::run_worker(o->worker);
  };
}

} // namespace millrace::tools
