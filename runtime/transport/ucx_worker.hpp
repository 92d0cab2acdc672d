#pragma once

#include "runtime/transport/ucx_choice.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <ucp/api/ucp.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility> // Boost 1.74's asio/awaitable.hpp uses std::exchange without it
#include <vector>

namespace millrace::transport {

/// Where UCX's TCP listens on its device.
struct listening {
  std::array<std::uint16_t, 2> ports{}; ///< first and last; 0 and 0: any that is free
  bool v6 = false;                      ///< on the device's IPv6 address
};

/// A UCX context that is allowed some transports and devices.
class ucx_context {
public:
  /// @throws std::runtime_error in one line
  ucx_context(const ucx_choice& allowed, const listening& where);
  ~ucx_context();
  ucx_context(const ucx_context&) = delete;
  ucx_context& operator=(const ucx_context&) = delete;

  ucp_context_h get() const { return context_; }

  /// Whether the format of what it says is known: version 1.13.1, and TCP is its only transport.
  bool format_is_known() const { return format_is_known_; }

  /// A worker of it could not be ended: the context stays until the process ends.
  void leave_alone() const { left_alone_ = true; }

private:
  ucp_context_h context_{};
  bool format_is_known_ = false;
  mutable bool left_alone_ = false;
};

/// A UCX worker with its endpoints, driven by an Asio loop through the worker's event descriptor. Everything, the
/// destructor too, runs on the loop's thread. Destroying it ends every operation without a word.
class ucx_worker {
public:
  /// An active message that has come in; valid during the handler only.
  struct incoming {
    std::span<const std::byte> header;
    std::span<const std::byte> payload; ///< empty if it is to be fetched
    std::size_t bytes = 0;              ///< of the payload
    ucp_ep_h reply{};                   ///< the way back, or null

    void* data = nullptr; ///< UCX's descriptor of a payload that is to be fetched; else null
    bool fetched = false;
  };

  using message_handler = std::function<void(incoming&)>;
  using outcome_handler = std::function<void(ucs_status_t)>;

  /// @param on_message called for every message; must not destroy the worker, must not throw
  ucx_worker(boost::asio::io_context& loop, const ucx_context& context, message_handler on_message);
  ~ucx_worker();
  ucx_worker(const ucx_worker&) = delete;
  ucx_worker& operator=(const ucx_worker&) = delete;

  std::vector<std::byte> address() const;

  /// @param on_failure called at most once, when UCX finds the peer dead
  /// @throws std::runtime_error if the address cannot be reached by the context's transports
  ucp_ep_h connect(std::span<const std::byte> address, outcome_handler on_failure);

  /// Ends the endpoint: at once if UCX found the peer dead or nothing is under way, else as soon as nothing is.
  void close(ucp_ep_h endpoint);

  /// Sends an active message. `payload` is read until `done`, and `keep` held until then. A failure to start is
  /// reported like any other.
  void send(ucp_ep_h endpoint, std::span<const std::byte> header, std::span<const std::byte> payload,
            std::shared_ptr<const void> keep, outcome_handler done);

  /// Messages to it that its other side has not taken yet.
  std::size_t sends_under_way(ucp_ep_h endpoint) const;

  /// Brings the payload of `message` to `to`, which has as many bytes; `keep` is held until `done`.
  void receive(incoming& message, std::span<std::byte> to, std::shared_ptr<const void> keep, outcome_handler done);

  /// Transports that the endpoint uses, e.g. "tcp/lo".
  std::string transports(ucp_ep_h endpoint) const;

private:
  struct operation;
  struct endpoint_state;

  static void close_by_force(ucp_ep_h endpoint);
  void close_waiting();
  void progress();
  void wake();
  operation* start(std::shared_ptr<const void> keep, outcome_handler done);
  void settle(void* request, operation* op);
  static void end(operation* op, ucs_status_t status);
  static ucs_status_t on_active_message(void* self, const void* header, std::size_t header_bytes, void* data,
                                        std::size_t bytes, const ucp_am_recv_param_t* parameters);

  boost::asio::io_context& loop_;
  const ucx_context& context_;
  message_handler on_message_;
  ucp_worker_h worker_{};
  boost::asio::posix::stream_descriptor events_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  bool waiting_ = false;
  bool progress_posted_ = false;
  std::unordered_set<operation*> operations_;
  std::unordered_map<ucp_ep_h, std::size_t> sends_; ///< under way
  std::vector<std::unique_ptr<endpoint_state>> endpoints_;
  std::vector<ucp_ep_h> waiting_to_close_;
};

} // namespace millrace::transport
