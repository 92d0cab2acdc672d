#pragma once

#include "runtime/access/data_ledger.hpp"
#include "runtime/transport/buffer_pool.hpp"
#include "runtime/transport/data_plane.hpp"
#include "runtime/transport/descriptor_line.hpp"
#include "runtime/transport/fan_out.hpp"
#include "runtime/transport/published.hpp"
#include "runtime/transport/ucx_choice.hpp"
#include "runtime/transport/ucx_worker.hpp"
#include "runtime/transport/wire_format.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/steady_timer.hpp>

#include <deque>
#include <map>
#include <set>
#include <thread>

namespace millrace::transport {

/// What a data_plane does on its thread. Members without a comment run on that thread only.
class data_plane::transfer_loop {
public:
  using clock = std::chrono::steady_clock;

  explicit transfer_loop(data_plane_options options);
  ~transfer_loop();

  // Any thread.
  const data_plane_options& options() const { return options_; }

  const std::vector<std::byte>& address() const { return address_; }

  published& bundles() { return published_; }

  data_plane_stats stats() const;
  std::string describe();
  std::vector<peer_lane> lanes();
  void end(); ///< any thread but this one's
  /// Runs `work` on the thread, in the order of the calls.
  void post(std::function<void()> work);
  /// Posts `pull`. @param wanted nothing: every column
  void start_pull(ticket t, std::optional<wanted_columns> wanted, std::chrono::milliseconds timeout, pull_handler done);

  // Peers (peers.cpp).
  void add_peer(std::uint64_t node, const node_address& where, std::vector<std::byte> packed);
  void drop_peer(std::uint64_t node);

  // Pulls (pulls.cpp).
  void pull(ticket t, const std::optional<wanted_columns>& wanted, clock::time_point deadline, pull_handler done);
  void release_remote(const ticket& t);

  bool reads_in_place(std::uint64_t node) const; ///< as far as is known yet (loans.cpp)

private:
  struct peer {
    enum class loans {
      none,      ///< it lends no memory to this node
      asked_for, ///< it has not answered at its door
      given,
      failed, ///< it is on this host, and yet its memory cannot be read
    };

    std::uint64_t node = 0;
    std::uint64_t life = 0;
    std::vector<std::byte> address;
    std::string host;                    ///< as its door names it; "" if it does not say
    std::uint64_t connection = 0;        ///< of our side
    std::uint64_t remote_connection = 0; ///< of theirs; 0: not greeted yet
    ucp_ep_h endpoint{};

    loans lending = loans::none;
    std::string cause;                     ///< why it is `none` or `failed`
    std::shared_ptr<descriptor_line> line; ///< over which it lends; null: `none`
    std::uint64_t knocked = 0;             ///< sequence of our knock
    std::vector<std::uint64_t> waiting;    ///< pulls that wait for its answer

    std::uint64_t bytes_pulled = 0;
    std::uint64_t bytes_mapped = 0; ///< of these
    std::string transports;         ///< of `endpoint`, as UCX said when so many bytes had been pulled:
    std::uint64_t asked_at_bytes = 0;
  };

  struct pending_pull {
    ticket wanted;
    pull_handler done;
    clock::time_point asked;
    std::unique_ptr<boost::asio::steady_timer> timer;
    std::uint64_t giver = 0;         ///< who was asked for it: the owner, or who has it from the owner
    std::uint64_t life = 0;          ///< of the giver, when the request was sent; 0: queued
    int attempt = 0;                 ///< counts the givers
    std::vector<std::size_t> places; ///< of the columns that are fetched, in the ticket's layout, ascending
    std::vector<tensor_spec> layout; ///< of these columns
    std::uint64_t bytes = 0;         ///< of these columns
    packing where;
    buffer_pool::block block;
    std::shared_ptr<shared_memory> shared; ///< where `block` is, if others of this host may ask for it
    std::vector<message> waiting;          ///< requests of nodes that were sent here for it
    std::vector<bool> arriving;            ///< by fetched column: a piece with it has begun
    std::size_t columns_missing = 0;       ///< not arrived, of those that have bytes; 1 if none has bytes
    std::set<std::uint64_t> sealed;        ///< where sealed pieces lie that have begun to arrive
    std::uint64_t sealed_missing = 0;      ///< bytes that have not arrived in any
  };

  void run();
  void close();
  message message_to(std::uint64_t node, std::uint64_t life, message_kind kind) const; ///< without a sequence
  message new_message(message_kind kind, const peer& to);

  bool is_for_us(const message& m) const { return m.to == options_.node && m.to_life == life_; }

  message answer_to(const message& request, message_kind kind) const;

  void connect(std::uint64_t node, const node_address& where, std::vector<std::byte> packed);
  void greet(peer& to);
  void on_greeting(const message& m, const greeting& g);
  void lost(std::uint64_t node, std::uint64_t connection, const std::string& cause);
  void forget(std::uint64_t node, const std::string& cause);
  void disconnect(peer& from);
  std::string describe_peers() const;
  std::vector<peer_lane> settled_lanes() const;

  void on_message(ucx_worker::incoming& in);
  void serve(ucp_ep_h back, const message& request, std::span<const std::byte> payload);
  void give(ucp_ep_h back, const message& request, const bundle& whole, const std::vector<std::size_t>& places);
  void send_piece(ucp_ep_h back, message header, const bundle& from, std::span<const std::byte> bytes);
  void refuse(ucp_ep_h back, const message& request, refusal_reason reason);

  // Bytes that are encrypted (sealed_pieces.cpp).
  struct sealed_answer;
  void send_sealed(ucp_ep_h back, const message& request, bundle asked);
  void go_on(const std::shared_ptr<sealed_answer>& with);
  void send_next(const std::shared_ptr<sealed_answer>& of, ucp_ep_h to);
  void on_sealed_piece(ucx_worker::incoming& in, const message& m);
  void unsealed(const message& m, int attempt, std::span<const std::byte> encrypted, ucs_status_t status);

  // Memory that is lent within the host (loans.cpp).
  std::string open_door(); ///< its name; "" without one
  void tell(const std::string& line) const;
  void take_in(std::shared_ptr<descriptor_line> line);
  std::shared_ptr<descriptor_line> forget_line(const descriptor_line& line);
  void on_knock(descriptor_line& line, std::span<const std::byte> bytes);
  bool lend(const message& request, const bundle& whole);
  void knock(peer& at, const std::string& door);
  void on_line(peer& from, std::span<const std::byte> bytes, int lent);
  void on_loan(peer& from, const message& m, int lent);
  void no_loans(peer& from, const std::string& cause);
  void resume(peer& with);

  /// Which columns the pull fetches and where they will lie. @throws std::invalid_argument for a ticket that
  /// contradicts itself, std::out_of_range for a required column that is not there
  void plan(pending_pull& p, const std::optional<wanted_columns>& wanted);
  void start_next();
  void note_load();
  void request(std::uint64_t number);
  void ask(std::uint64_t number, peer& giver, message_kind kind);
  bool make_block(pending_pull& p);                 ///< where its bytes come to, if there is none; false: no memory
  pending_pull* pull_answered_by(const message& m); ///< nullptr: it answers none that was asked of its sender
  void on_piece(ucx_worker::incoming& in, const message& m);
  static void expect_all(pending_pull& p);
  void arrived(std::uint64_t number, int attempt, std::size_t columns, ucs_status_t status);
  void check_and_finish(std::uint64_t number, const pending_pull& p);
  void on_refusal(const message& m, bool authentic);
  void finish(std::uint64_t number, pull_status status, const std::string& cause, bundle value = {});

  // Bundles that go from one reader to the next (handing_on.cpp).
  struct kept_bundle {
    std::vector<tensor_spec> layout;
    std::span<const std::byte> block;
    std::weak_ptr<const void> memory;
    std::weak_ptr<const shared_memory> shared;
  };

  bool send_elsewhere(ucp_ep_h back, const message& request); ///< false: the owner is to give it
  void on_elsewhere(const message& m);
  void ask_owner(std::uint64_t number, const std::string& cause);
  void failed(std::uint64_t number, pull_status status, const std::string& cause); ///< the owner is asked, or it ends
  bool has_neighbours(const pending_pull& p) const;
  bool on_this_host(const peer& other) const;
  void keep(const ticket& t, const bundle& value);
  void hand_on(ucp_ep_h back, const message& request);
  void hand_on_to_all(const std::vector<message>& waiting);
  void refuse_waiting(const peer& of);

  template <class Change>
  void count(Change change) {
    const std::lock_guard lock(stats_mutex_);
    change(stats_);
  }

  const data_plane_options options_;
  const ucx_choice choice_;
  std::uint64_t life_ = 0;
  std::uint64_t last_sequence_ = 0;
  std::string host_; ///< "" without a door
  std::vector<std::byte> address_;
  published published_;
  buffer_pool pool_;

  boost::asio::io_context loop_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{loop_.get_executor()};
  ucx_context context_;
  const std::shared_ptr<access::data_ledger> ledger_ =
      context_.format_is_known() ? std::make_shared<access::data_ledger>() : nullptr;
  std::unique_ptr<ucx_worker> worker_;
  std::unique_ptr<descriptor_door> door_;                  ///< null: nothing is lent
  std::deque<std::shared_ptr<descriptor_line>> strangers_; ///< have not knocked yet, the oldest first
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::shared_ptr<descriptor_line>> lines_; ///< of nodes and lives
  bool closed_ = false;

  std::map<std::uint64_t, std::unique_ptr<peer>> peers_;
  std::map<std::uint64_t, std::string> lost_;                 ///< why a peer that was there is not
  std::set<std::pair<std::uint64_t, std::uint64_t>> dropped_; ///< lives that do not come back
  std::map<std::pair<std::uint64_t, std::uint64_t>, replay_window> windows_;

  std::map<std::uint64_t, fan_out> fans_;                               ///< by ticket of this node
  std::map<std::pair<std::uint64_t, std::uint64_t>, kept_bundle> kept_; ///< by owner and ticket

  std::map<std::uint64_t, pending_pull> pulls_;
  std::deque<std::uint64_t> queue_;
  std::size_t outstanding_ = 0;
  std::uint64_t last_pull_ = 0;

  mutable std::mutex stats_mutex_;
  data_plane_stats stats_;
  std::thread thread_;
};

/// A random number that is not 0, of OpenSSL's generator.
std::uint64_t random_number();

} // namespace millrace::transport
