#include "actors/worker_host.hpp"
#include "tools/command.hpp"

#include <memory>

namespace millrace::tools {

command add_node(CLI::App& root) {
  struct options {
    std::string listen;
    std::string secret_file;
  };
  auto o = std::make_shared<options>();
  auto* app = root.add_subcommand("node", "Lets runs on other hosts place roles on this one");
  app->footer("The run's pipeline names it:  [placement]  secret_file = \"secret\"\n"
              "                              rollout = { hosts = [\"10.0.0.2:7000\"] }\n"
              "Both sides hold the same secret file, at least 32 bytes:  head -c 32 /dev/urandom > secret; chmod 600 secret\n"
              "Connections are TLS in both directions; who does not hold the secret is refused.");
  app->add_option("--listen", o->listen, "ADDRESS:PORT of this host")->required();
  app->add_option("--secret-file", o->secret_file, "File with the shared secret, readable by its owner only")->required();
  return [o] { return actors::run_node(o->listen, o->secret_file); };
}

} // namespace millrace::tools
