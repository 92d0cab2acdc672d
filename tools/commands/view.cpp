#include "runtime/run_files/run_folder.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/command.hpp"
#include "tools/commands/end_signals.hpp"
#include "tools/commands/watched_run.hpp"

#include <memory>

namespace millrace::tools {

namespace {

struct view_arguments {
  std::filesystem::path folder;
  std::string listen = "127.0.0.1:7070";
};

int view_run(const view_arguments& given) {
  run_files::holder_of_run(given.folder); // throws for what is no run
  const auto at = parse_listen_address(given.listen);
  if (!at || !at->is_loopback())
    throw input_error("--listen: found '" + given.listen + "', want a loopback address and a port: 127.0.0.1:7070");
  const end_signals ends;
  watch::server server({.at = *at, .token = ""});
  watch_run(server, given.folder, pipeline::read_stages(given.folder / "resolved.toml"));
  ends.wait();
  return 0;
}

} // namespace

command view_command() {
  const auto given = std::make_shared<view_arguments>();
  return {.name = "view",
          .help = "Shows a run in the browser, a finished one or one under way, until Ctrl-C",
          .arguments = {{.name = "RUN", .to = &given->folder, .help = "The run's folder", .required = true},
                        {.name = "--listen",
                         .to = &given->listen,
                         .help = "ADDRESS:PORT, a loopback address; port 0: one that is free",
                         .shows_default = true}},
          .run = [given] { return view_run(*given); }};
}

} // namespace millrace::tools
