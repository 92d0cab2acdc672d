#pragma once

#include "runtime/access/wireup_frame.hpp"

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <vector>

namespace millrace::access {

/// What one data plane has told its peers, and so what these may name: its endpoints, the bytes that it offers, and
/// those that it demands.
///
/// UCX looks up the numbers that a peer says in a table of its worker (`ucs_ptr_map_get`,
/// src/ucs/datastruct/ptr_map.inl), and believes that each stands for what its frame is about. So a frame may name only
/// what this data plane has said itself, for its own purpose, once, and to that peer.
///
/// A connection is known by the address of its stream. The two directions between two endpoints may use two
/// connections: what was said over one is answered over the same, or over the one that has named the endpoint which was
/// told there. Any thread.
class data_ledger {
public:
  using connection = const void*;

  /// This data plane connects to a worker. @returns false: it knows that worker under another address
  bool meet(const worker_address& worker);

  /// Whether a worker that asks for an endpoint has the address under which it is known, if it is. UCX chooses anew by
  /// what it says, for the endpoint that this process has made for it already, and ends the process if that makes a
  /// difference (`ucp_wireup_init_lanes`, src/ucp/wireup/wireup.c).
  bool agrees(const worker_address& worker) const;

  /// This data plane has told the other side of a connection one of its endpoints.
  /// @param asks it wants to hear an endpoint in return
  void told_endpoint(std::uint64_t endpoint, connection over, bool asks);

  /// It has offered bytes under the number of a request.
  void told_offer(std::uint64_t request, std::uint64_t bytes, connection over);

  /// It has demanded bytes under the number of a request.
  void told_demand(std::uint64_t request, std::uint64_t bytes, connection over);

  /// The other side names an endpoint, which is no other connection's from then on. @returns whether it may
  bool may_name(std::uint64_t endpoint, connection by);

  /// It says the endpoint that was asked for; once. @returns whether it may
  bool may_answer(std::uint64_t endpoint, connection by);

  /// It demands or refuses what was offered; once. @returns the bytes, or nothing if it may not
  std::optional<std::uint64_t> take_offer(std::uint64_t request, connection by);

  /// It sends some of what was demanded; each byte once. @returns whether it may
  bool may_send(std::uint64_t request, std::uint64_t offset, std::uint64_t bytes, connection by);

  /// A connection is gone, and with it what was told over it.
  void forget(connection gone);

private:
  struct endpoint_told {
    connection over = nullptr;
    connection named_by = nullptr;
    bool asks = false;
  };

  struct offer {
    std::uint64_t bytes = 0;
    connection over = nullptr;
  };

  struct demand {
    std::uint64_t bytes = 0, came = 0;
    connection over = nullptr;
  };

  bool answers(connection by, connection over) const;

  mutable std::mutex mutex_;
  std::map<std::uint64_t, std::vector<tcp_place>> workers_; ///< by their random numbers
  std::map<std::uint64_t, endpoint_told> endpoints_;
  std::map<std::uint64_t, offer> offers_;   ///< by request
  std::map<std::uint64_t, demand> demands_; ///< by request
};

} // namespace millrace::access
