#include "actors/process/node_host.hpp"
#include "tools/clusters/held_secret.hpp"
#include "tools/command.hpp"

#include <memory>
#include <string>

namespace millrace::tools {
command node_command() {
  struct node_arguments {
    std::string listen;
    std::string secret_file;
    std::string join;
  };

  const auto given = std::make_shared<node_arguments>();
  return {.name = "node",
          .help = "Lets runs on other hosts place roles on this one",
          .footer = R"(The run's pipeline names it:  [placement]  secret_file = "secret"
                              rollout = { hosts = ["10.0.0.2:7000"] }
Both sides hold the same secret file, at least 32 bytes:  head -c 32 /dev/urandom > secret; chmod 600 secret
Connections are TLS in both directions; who does not hold the secret is refused.)",
          .arguments =
              {{.name = "--listen", .to = &given->listen, .help = "ADDRESS:PORT of this host", .required = true},
               {.name = "--secret-file",
                .to = &given->secret_file,
                .help = "File with the shared secret, readable by its owner only; - for the first line of stdin, with "
                        "whose end the node ends",
                .required = true},
               {.name = "--join",
                .to = &given->join,
                .help = "ADDRESS:PORT of a run with other nodes (placement.port) that this one joins: it takes the "
                        "place of a node that is lost"}},
          .run = [given] {
            const bool piped = given->secret_file == "-";
            return actors::run_node(
                {.listen = given->listen,
                 .secret = piped ? held_secret(secret_on_stdin()).root() : cluster::root_of_file(given->secret_file),
                 .end = piped ? actors::node_end::with_stdin : actors::node_end::at_signal,
                 .join = given->join});
          }};
}

} // namespace millrace::tools
