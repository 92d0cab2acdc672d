#include "actors/process/node_host.hpp"

#include "actors/process/node_agent.hpp"
#include "actors/process/run_host.hpp"
#include "actors/protocol/system.hpp"
#include "runtime/access/socket_calls.hpp"
#include "runtime/cluster/descriptors.hpp"
#include "runtime/cluster/endpoint.hpp"
#include "runtime/cluster/grace.hpp"
#include "runtime/cluster/signals.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/words/input_error.hpp"

#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

namespace millrace::actors {
namespace {

/// The end of a node, and what was asked of it before.
class awaited_node_end {
public:
  void signal() {
    const std::lock_guard lock(mutex_);
    signalled_ = true;
    changed_.notify_all();
  }

  void ends(bool told) {
    const std::lock_guard lock(mutex_);
    told_ = told_ || told;
    ended_ = true;
    changed_.notify_all();
  }

  void wait_for_either() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return signalled_ || ended_; });
  }

  /// @returns whether either has come by then
  bool wait_for(std::chrono::milliseconds time) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, time, [this] { return signalled_ || ended_; });
  }

  void wait_for_word() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_; });
  }

  bool told() {
    const std::lock_guard lock(mutex_);
    return told_;
  }

private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool signalled_ = false, ended_ = false, told_ = false;
};

/// Offers a node to a run, and to the run's next session when this one has ended.
class standing_offer {
public:
  standing_offer(actor_system& system, const handle<starts_processes>& node, std::string run, std::string host,
                 std::shared_ptr<awaited_node_end> end)
      : system_(system), node_(node), run_(std::move(run)), host_(std::move(host)), end_(std::move(end)),
        thread_([this] { offer(); }) {}

private:
  void offer() {
    constexpr auto between_offers = std::chrono::seconds(1);
    std::string said;
    do {
      const auto why = offer_once();
      if (!why.empty() && why != said)
        telemetry::log_warning("node", "the run at " + run_ + " does not take this node yet: " + why);
      said = why;
    } while (!end_->wait_for(between_offers));
  }

  /// Returns when the run is gone, or did not take the node. @returns why it did not
  std::string offer_once() {
    try {
      const auto where = cluster::parse_endpoint(run_);
      if (!cluster::reachable(where, 1))
        return "nobody listens there";
      const auto found = system_.find(where, encryption::mutual_tls);
      if (!found.who)
        return found.why;
      const auto answer = system_.ask_and_wait(handle<decides>(found.who), join_as_node{.host = host_, .node = node_},
                                               std::chrono::seconds(5));
      if (const auto* why = std::get_if<refusal>(&answer))
        return why->line;
      const auto& place = std::get<joined_as_node>(answer).in_place_of;
      telemetry::log_info("node",
                          "joined the run at " + run_
                              + (place.empty() ? ", for when another node is lost" : " in the place of " + place));
      wait_until_gone(found.who);
      return "";
    } catch (const input_error& error) {
      return error.what();
    }
  }

  void wait_until_gone(const address& run) {
    const auto gone = std::make_shared<std::atomic<bool>>(false);
    const auto watch = system_.start("run_watch", [run, gone](actor& self, inbox&) {
      self.watch(run, [&self, gone] {
        *gone = true;
        self.quit();
      });
    });
    while (!*gone && !end_->wait_for(std::chrono::milliseconds(200))) {
    }
    end_actor(watch);
  }

  actor_system& system_;
  handle<starts_processes> node_;
  std::string run_, host_;
  std::shared_ptr<awaited_node_end> end_;
  std::jthread thread_; ///< last: it uses the rest
};

void end_with_stdin(const std::shared_ptr<awaited_node_end>& end) {
  std::thread([end] {
    char ignored = 0;
    while (read(STDIN_FILENO, &ignored, 1) > 0) {
    }
    end->signal();
  }).detach();
}

} // namespace

int run_node(const node_options& options) {
  cluster::survive_refused_writes();
  cluster::raise_descriptor_limit();
  const auto end = std::make_shared<awaited_node_end>();
  const cluster::stop_signals signals([end](const char*, int) { end->signal(); });
  if (options.end == node_end::with_stdin)
    end_with_stdin(end);
  const auto where = cluster::parse_endpoint(options.listen);
  const cluster::credentials secret(options.secret);
  cluster::actor_options settings;
  settings.tls = secret.files();
  settings.keys = {secret.connection_key()};
  access::tell_refusals([](const std::string& line) { telemetry::log_warning("node", line); });
  cluster::grace_period grace; // before the system, whose end may wait for a connection that nobody answers
  actor_system system(settings);
  const auto processes = std::make_shared<node_processes>(options.secret);
  const handle<starts_processes> agent(system.start(
      "node_agent", node_agent({.processes = processes, .on_end = [end](bool told) { end->ends(told); }})));
  std::uint16_t port = 0;
  try {
    port = system.publish(agent, where, encryption::mutual_tls);
  } catch (const std::exception& error) {
    end_actor(agent);
    throw input_error("cannot listen on " + options.listen + ": is the port in use, or the address not this host's? ("
                      + error.what() + ")");
  }
  telemetry::log_info("node", "listening on " + cluster::text_of({where.address, port}) + " over TLS, by the secret"
                                  + (options.end == node_end::at_signal ? "; Ctrl-C ends it" : ""));
  std::optional<standing_offer> offer;
  if (!options.join.empty())
    offer.emplace(system, agent, options.join, cluster::text_of({where.address, port}), end);
  end->wait_for_either();
  int status = 0;
  if (options.end == node_end::with_its_run && !end->told()) {
    system.ask_and_wait(agent, end_node{.if_unused = true}, std::chrono::seconds(5));
    end->wait_for_word();
    status = end->told() ? 0 : stopped_status;
  }
  end_actor(agent);
  grace.begin(cluster::parting_grace, status);
  return status;
}

void end_nodes(const std::vector<std::string>& nodes, const cluster::root_key& root) {
  constexpr auto patience = std::chrono::seconds(5);
  const cluster::credentials secret(root);
  cluster::actor_options settings;
  settings.tls = secret.files();
  settings.keys = {secret.connection_key()};
  actor_system system(settings);
  for (const auto& node : nodes)
    try {
      const auto where = cluster::parse_endpoint(node);
      if (!cluster::reachable(where, 1))
        continue;
      if (const auto found = system.find(where, encryption::mutual_tls); found.who)
        system.ask_and_wait(handle<starts_processes>(found.who), end_node{}, patience);
    } catch (const input_error&) {
      // its name is gone with it
    }
}

} // namespace millrace::actors
