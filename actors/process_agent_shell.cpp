#include "actors/process_agent_shell.hpp"

#include "actors/errors.hpp"
#include "actors/role_table.hpp"
#include "runtime/telemetry/log.hpp"

namespace millrace::actors {
namespace {

std::span<const std::byte> as_bytes(const std::vector<std::uint8_t>& bytes) { return std::as_bytes(std::span(bytes)); }

std::string in_one_line(const std::string& lines) {
  std::string line;
  for (const char c : lines)
    line += c == '\n' ? std::string("; ") : std::string(1, c);
  return line.substr(0, line.find_last_not_of("; ") + 1);
}

process_report report_of(process_agent_state& state, const process_agent_config& config) {
  const auto stats = config.data->stats();
  auto transports = in_one_line(config.data->describe());
  process_report report{config.node,        telemetry::process_trace().take(), telemetry::process_waits().open(),
                        telemetry::now_s(), stats.bytes_pulled,                stats.bytes_served,
                        "",                 telemetry::process_holdings().all()};
  if (transports != state.transports)
    report.transports = state.transports = std::move(transports);
  return report;
}

} // namespace

process_agent_actor::behavior_type make_process_agent(process_agent_actor::stateful_pointer<process_agent_state> self,
                                                      process_agent_config config) {
  self->state.starting = std::make_unique<job_thread>();
  self->monitor(config.coordinator);
  self->set_down_handler([self, config](caf::down_msg&) {
    config.on_end("the run's coordinator is gone");
    self->quit();
  });
  self->delayed_send(self, std::chrono::seconds(1), caf::tick_atom_v);
  return {
      [config](const peer_up& peer) -> caf::result<peer_known> {
        return answer_or_error([&] {
          if (peer.node != config.node)
            config.data->add_peer(peer.node, as_bytes(peer.address));
          return peer_known{peer.node};
        });
      },
      [config](const peer_gone& peer) { config.data->drop_peer(peer.node); },
      [config](const release_bundles& release) {
        for (const auto id : release.ids)
          config.data->release(id);
      },
      [self, config](const start_roles& start) {
        for (const auto& who : start.roles) {
          role_context context{config.pipeline, who, config.node, config.data, config.coordinator, start.checkpoint};
          self->state.starting->post([system = &self->system(), context] { start_role(*system, context); });
        }
      },
      [self, config](const end_process& end) {
        config.on_end(end.why);
        self->quit();
      },
      [self, config](const report_now&) { return report_of(self->state, config); },
      [self, config](caf::tick_atom) {
        self->send(config.coordinator, report_of(self->state, config));
        self->delayed_send(self, std::chrono::seconds(1), caf::tick_atom_v);
      },
  };
}

} // namespace millrace::actors
