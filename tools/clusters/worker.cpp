#include "actors/process/worker_host.hpp"
#include "runtime/cluster/endpoint.hpp"
#include "tools/command.hpp"

#include <memory>

namespace millrace::tools {

command worker_command() {
  struct worker_arguments {
    std::string connect;
    actors::worker_options worker;
  };

  const auto given = std::make_shared<worker_arguments>();
  auto& worker = given->worker;
  return {.name = "worker",
          .help = "A process that a run starts for one of its roles; not for people",
          .arguments = {{.name = "--connect", .to = &given->connect, .required = true},
                        {.name = "--role", .to = &worker.role.role, .required = true},
                        {.name = "--index", .to = &worker.role.index, .required = true},
                        {.name = "--incarnation", .to = &worker.role.incarnation, .required = true},
                        {.name = "--host", .to = &worker.host},
                        {.name = "--heartbeat-ms", .to = &worker.heartbeat_ms},
                        {.name = "--peer-timeout-ms", .to = &worker.peer_timeout_ms}},
          .hidden = true,
          .run = [given] {
            const auto where = cluster::parse_endpoint(given->connect);
            given->worker.coordinator_host = where.address;
            given->worker.coordinator_port = where.port;
            return actors::run_worker(given->worker);
          }};
}

} // namespace millrace::tools
