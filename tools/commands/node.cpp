#include "actors/process/node_host.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"

#include <iostream>
#include <memory>
#include <span>
#include <string>

namespace millrace::tools {
namespace {

/// The secret that `millrace launch` writes into this process's stdin.
cluster::root_key root_from_stdin() {
  std::string secret;
  std::getline(std::cin, secret);
  constexpr std::size_t least_bytes = 32;
  if (secret.size() < least_bytes)
    throw input_error("--secret-file -: found a line of " + std::to_string(secret.size())
                      + " bytes on stdin, want at least 32");
  return cluster::root_of(std::as_bytes(std::span(secret)));
}

} // namespace

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
            return actors::run_node({.listen = given->listen,
                                     .secret = piped ? root_from_stdin() : cluster::root_of_file(given->secret_file),
                                     .end = piped ? actors::node_end::with_stdin : actors::node_end::at_signal,
                                     .join = given->join});
          }};
}

} // namespace millrace::tools
