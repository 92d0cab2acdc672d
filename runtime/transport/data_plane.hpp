#pragma once

#include "runtime/access/key.hpp"
#include "runtime/transport/bundle.hpp"
#include "runtime/transport/wanted_columns.hpp"
#include "runtime/words/peer_lane.hpp"
#include "runtime/words/ticket.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>

namespace millrace::transport {

enum class wire {
  automatic, ///< within a host the reader maps the owner's memory where it can; else the best of RDMA and TCP
  rdma,      ///< the same, without TCP
  tcp,       ///< UCX over TCP with peer-failure handling, within a host too
  shm,       ///< every peer is of this host and lends its memory: a pull from another one fails
};

constexpr auto words_for(wire) {
  return std::to_array<std::string_view>({"auto", "rdma", "tcp", "shm"});
}

/// "auto", "rdma", "shm" or "tcp". @throws std::invalid_argument for another word
wire wire_from(std::string_view name);

/// Whether this machine, and UCX_TLS of the environment, have what `how` needs.
/// @throws input_error in one line that names the devices which are there
void check_wire(wire how);

struct data_plane_options {
  std::uint64_t node = 0; ///< unique among the nodes of a run
  access::key256 key{};   ///< the run's key: who does not hold it is served nothing
  wire transport = wire::automatic;
  std::string bind; ///< address or interface to listen on; empty: loopback only
  /// Ports to listen on, first and last: one of them that is free. 0 and 0: any.
  std::array<std::uint16_t, 2> ports{};
  /// What is copied over UCX is encrypted, with the key; all nodes of a run alike. Memory that is lent is not.
  bool encrypt = false;
  std::size_t max_outstanding_pulls = 16; ///< the others wait their turn
  /// Who lets so many answers wait gets no other one: each takes 1 KB here. An honest peer waits for
  /// `max_outstanding_pulls`, of a message a column at most.
  std::size_t max_waiting_answers = 16'384;
  std::size_t pool_bytes = std::size_t{2} << 30; ///< idle receive memory that is kept for reuse
  /// Takes a line that a person should read. On any thread; empty: nobody reads it.
  std::function<void(const std::string& line)> tell = {};
};

enum class pull_status {
  ok,
  peer_unknown,   ///< no such peer, or the ticket is not one
  peer_lost,      ///< the peer died, hung up or was dropped
  refused,        ///< the owner does not accept our key, or saw the request before
  released,       ///< the owner has no such bundle any more
  no_such_column, ///< the bundle has no column of a name that is required
  corrupt,        ///< what came is not what the ticket says
  not_shared,     ///< wire::shm, and the owner's memory cannot be read in place
  timed_out,
  closed, ///< this data plane was shut down
};

std::string_view name_of(pull_status status);

struct pull_result {
  pull_status status = pull_status::ok;
  bundle value;      ///< the columns that were asked for, if ok
  std::string error; ///< one line with the node and the cause, if not ok

  explicit operator bool() const { return status == pull_status::ok; }
};

/// Whether a ticket carries checksums, against which pulls check what arrived.
enum class checksums { computed, left_out };

struct data_plane_stats {
  std::uint64_t bytes_pulled = 0;      ///< of columns of other nodes, arrived
  std::uint64_t bytes_mapped = 0;      ///< of these, not copied: they lie in the owner's memory
  std::uint64_t bytes_served = 0;      ///< of columns, begun
  std::uint64_t bytes_lent = 0;        ///< of these, not copied
  std::uint64_t pulls = 0;             ///< asked for, also in-process
  std::uint64_t pulls_in_process = 0;  ///< answered with the same memory
  std::uint64_t pulls_failed = 0;      ///< for whatever reason
  std::uint64_t requests_refused = 0;  ///< as owner: bad key, replayed, malformed, or more than it answers
  std::uint64_t pulls_outstanding = 0; ///< now on the wire
  std::uint64_t pulls_queued = 0;      ///< now waiting for one of the outstanding to end
  std::uint64_t live_tickets = 0;      ///< published and not released
  std::uint64_t live_bytes = 0;
  std::uint64_t pool_bytes = 0;      ///< receive memory now lent or kept
  std::uint64_t pool_high_water = 0; ///< the most it has been
};

/// The bytes of a run: publishes bundles under tickets and pulls those of other nodes over UCX. One per process, with
/// a thread of its own; every member may be called from any thread and returns at once.
///
/// Each pair of nodes shares a connection over TCP or RDMA with UCX's peer-failure handling: it carries requests, and
/// it is how a dead peer is noticed (milliseconds after a SIGKILL; a frozen one is noticed by nobody but the
/// deadlines). A bundle of at least `smallest_shared` bytes lies in memory that its owner lends to the nodes of its
/// host: they map it, read it in place, and hold it for as long as they hold the bundle, whether the owner lives or
/// not. Nobody can write to it, and its checksums are not computed again. Everything else is copied over UCX.
///
/// The owner sends two copies of a large bundle that is pulled whole. Further readers get it from those that have it,
/// first from one of their own host; the owner gives it once more to whoever is let down.
///
/// Every message carries an HMAC-SHA256 with the run's key over who asks whom for what, and a sequence number that is
/// accepted once. The bytes themselves are encrypted (AES-256-GCM) where `data_plane_options::encrypt` says so.
///
/// Failure: a peer that dies or is dropped ends its pulls at once; no pull outlives its deadline; `close` and
/// destruction end all pulls with `closed`.
class data_plane {
public:
  using pull_handler = std::function<void(pull_result)>;

  /// @throws std::runtime_error in one line if UCX cannot start or `bind` is not on this machine
  /// and input_error as check_wire
  explicit data_plane(data_plane_options options);
  ~data_plane();
  data_plane(const data_plane&) = delete;
  data_plane& operator=(const data_plane&) = delete;

  std::uint64_t node() const;

  const data_plane_options& options() const;

  /// What a peer passes to add_peer: opaque, around 200 bytes, of this life of the node only.
  std::vector<std::byte> address() const;

  /// Makes `node` known, so that tickets of it can be pulled. The other side learns of this one by an
  /// authenticated greeting, soon after. A second call with another address replaces the peer.
  /// @throws std::invalid_argument if `address` is damaged
  void add_peer(std::uint64_t node, std::span<const std::byte> address);

  /// Closes whatever there is with the peer: its pulls end with peer_lost, and it is not served any more. This life of
  /// the node does not come back, whoever adds it; a new one, with a new address, does.
  void drop_peer(std::uint64_t node);

  /// Holds the bundle until `release`. The checksums are computed here, at memory speed, on the calling thread.
  ticket publish(bundle value, checksums how = checksums::computed);

  /// Gives up a bundle of this node. Pulls that are being served end well. Unknown ids are ignored.
  void release(std::uint64_t id);

  /// Tells the ticket's owner that this bundle is not needed any more. Lost if the owner is; that is no error.
  void release_remote(const ticket& t);

  /// Fetches the bundle of a ticket, into pooled memory; a ticket of this node gives the published bundle itself.
  /// `done` is called exactly once, on the data plane's thread: it must not block and must not throw.
  void pull(ticket t, std::chrono::milliseconds timeout, pull_handler done);
  /// Fetches some columns of the bundle. The bytes of the others do not travel; `value` has only the wanted ones, each
  /// checked against its own checksum. A ticket of this node gives them in the published memory, without a copy. If
  /// the ticket has none of them (all are optional), the pull ends well at once, with a bundle without columns.
  void pull(ticket t, wanted_columns wanted, std::chrono::milliseconds timeout, pull_handler done);

  /// Whether the large bundles of a node are read here where they lie: this node's own, and those of a node of this
  /// host that lends its memory. `done` is called as `pull`'s.
  void ask_if_read_in_place(std::uint64_t node, std::function<void(bool in_place)> done);

  /// Ends all pulls, and then the thread. What is asked afterwards is not answered. After this any thread may be the
  /// last to let go of the data plane; before it not the data plane's own, where `done` is called, which cannot wait
  /// for its own end. Not on that thread.
  void close();

  data_plane_stats stats() const;

  /// One line per peer: what UCX chose for it. Waits for the data plane's thread.
  std::string describe() const;

  /// Of each peer that has answered. Waits for the data plane's thread.
  std::vector<peer_lane> lanes() const;

private:
  class transfer_loop;
  std::unique_ptr<transfer_loop> transfers_;
};

} // namespace millrace::transport
