#include "actors/process/process_agent.hpp"

#include "actors/roles/start_role.hpp"
#include "runtime/roles/job_thread.hpp"
#include "runtime/telemetry/in_flight.hpp"
#include "runtime/telemetry/trace.hpp"
#include "runtime/telemetry/waits.hpp"

#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

namespace millrace::actors {
namespace {

std::span<const std::byte> as_bytes(const std::vector<std::uint8_t>& bytes) {
  return std::as_bytes(std::span(bytes));
}

/// The roles of this process that serve clients outside of the run.
class outward_roles {
public:
  void add(const std::shared_ptr<roles::outward>& role) {
    const std::lock_guard hold(lock_);
    if (role)
      roles_.push_back(role);
  }

  void close() {
    const std::lock_guard hold(lock_);
    for (const auto& role : roles_)
      if (const auto alive = role.lock())
        alive->close();
  }

private:
  std::mutex lock_;
  std::vector<std::weak_ptr<roles::outward>> roles_;
};

class agent_state {
public:
  explicit agent_state(process_agent_config config) : config_(std::move(config)) {}

  peer_known take_in(const peer_up& peer) {
    if (peer.node != config_.node)
      config_.data->add_peer(peer.node, as_bytes(peer.address));
    return {peer.node};
  }

  void start(const start_roles& ask) {
    for (const auto& who : ask.roles)
      starting_.post([outward = outward_, start = config_.start,
                      order = role_order{.pipeline = config_.pipeline,
                                         .who = who,
                                         .node = config_.node,
                                         .data = config_.data,
                                         .checkpoint = ask.checkpoint},
                      coordinator = config_.coordinator] { outward->add(start_role(start, order, coordinator)); });
  }

  /// Those that are not as they were in the last report: in a run of many processes hardly any is.
  std::vector<peer_lane> changed_lanes() {
    auto lanes = config_.data->lanes();
    std::erase_if(lanes, [this](const peer_lane& lane) {
      auto& told = told_[lane.node];
      return lane == std::exchange(told, lane);
    });
    return lanes;
  }

  process_report report() {
    return {.node = config_.node,
            .trace = telemetry::process_trace().take(),
            .waits = telemetry::process_waits().open(),
            .now_s = telemetry::now_s(),
            .lanes = changed_lanes(),
            .in_flight = telemetry::process_in_flight().all()};
  }

  /// Once a second.
  void tick(actor& self) {
    tell(config_.coordinator, report());
    self.after(std::chrono::seconds(1), [this, &self] { tick(self); });
  }

  void end(actor& self, const std::string& why) {
    outward_->close();
    config_.on_end(why);
    self.quit();
  }

  const process_agent_config& config() const { return config_; }

private:
  process_agent_config config_;
  std::shared_ptr<outward_roles> outward_ = std::make_shared<outward_roles>();
  std::map<node_id, peer_lane> told_; ///< in reports
  roles::job_thread starting_;        ///< roles load here
};

} // namespace

actor::setup process_agent(process_agent_config config) {
  return [config = std::move(config)](actor& self, inbox& in) {
    const auto state = std::make_shared<agent_state>(config);
    self.watch(config.coordinator, [&self, state] { state->end(self, "the run's coordinator is gone"); });
    self.after(std::chrono::seconds(1), [&self, state] { state->tick(self); });
    in.on<peer_up>([state](const peer_up& peer) { return state->take_in(peer); });
    in.on<peer_gone>([state](const peer_gone& peer) { state->config().data->drop_peer(peer.node); });
    in.on<release_bundles>([state](const release_bundles& release) {
      for (const auto id : release.ids)
        state->config().data->release(id);
    });
    in.on<start_roles>([state](const start_roles& ask) { state->start(ask); });
    in.on<end_process>([&self, state](const end_process& end) { state->end(self, end.why); });
    in.on<report_now>([state](const report_now&) { return state->report(); });
  };
}

} // namespace millrace::actors
