#include "tools/commands/watched_run.hpp"

#include "actors/process/staged_run.hpp"
#include "runtime/access/web_gate.hpp"
#include "runtime/telemetry/log.hpp"

namespace millrace::tools {

std::vector<std::string> with_listen(std::vector<std::string> overrides, const std::string& listen) {
  if (!listen.empty())
    overrides.push_back("run.listen=\"" + listen + "\"");
  return overrides;
}

std::unique_ptr<watch::server> listening_for(const std::vector<pipeline::stage>& stages) {
  const auto& run = stages.front().what.run;
  const auto at = parse_listen_address(run.listen);
  if (!at)
    return nullptr;
  return std::make_unique<watch::server>(watch::server_options{
      .at = *at, .token = run.listen_token_file.empty() ? "" : access::read_token(run.listen_token_file)});
}

void watch_run(watch::server& server, const std::filesystem::path& folder, const std::vector<pipeline::stage>& stages) {
  if (!pipeline::is_staged(stages))
    server.start([folder] { return folder; });
  else
    server.start([folder, stages] {
      std::filesystem::path current;
      for (std::size_t i = 0; i < stages.size(); ++i)
        if (const auto own = actors::folder_of_stage(folder, stages, i); std::filesystem::exists(own / "resolved.toml"))
          current = own;
      return current;
    });
  telemetry::process_log().say("watch it at " + server.url());
}

} // namespace millrace::tools
