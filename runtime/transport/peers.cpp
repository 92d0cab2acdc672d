#include "runtime/access/wireup_frame.hpp"
#include "runtime/transport/transfer_loop.hpp"

#include <stdexcept>

namespace millrace::transport {
namespace {

/// UCX would read on behind the end of what is no address. @throws std::runtime_error
void check_address(std::span<const std::byte> packed, access::data_ledger& ledger) {
  access::worker_address there;
  auto why = access::read_worker_address(packed, false, there);
  if (why.empty() && there.places.empty())
    why = "an address without a device";
  if (why.empty() && !ledger.meet(there))
    why = "another address of a worker that is known";
  if (!why.empty())
    throw std::runtime_error("UCX: " + why);
}

} // namespace

void data_plane::transfer_loop::add_peer(std::uint64_t node, const node_address& where, std::vector<std::byte> packed) {
  if (closed_ || node == options_.node || dropped_.contains({node, where.life}))
    return;
  if (const auto known = peers_.find(node); known != peers_.end()) {
    if (known->second->address == packed)
      return;
    forget(node, "it was replaced by another life of the node");
  }
  connect(node, where, std::move(packed));
}

void data_plane::transfer_loop::drop_peer(std::uint64_t node) {
  const auto known = peers_.find(node);
  if (known == peers_.end())
    return;
  dropped_.insert({node, known->second->life});
  refuse_waiting(*known->second);
  if (const auto line = lines_.find({node, known->second->life}); line != lines_.end()) {
    line->second->close();
    lines_.erase(line);
  }
  forget(node, "it was dropped");
}

void data_plane::transfer_loop::connect(std::uint64_t node, const node_address& where, std::vector<std::byte> packed) {
  auto made = std::make_unique<peer>();
  peer& p = *made;
  p.node = node;
  p.life = where.life;
  p.address = std::move(packed);
  p.connection = random_number();
  try {
    if (ledger_)
      check_address(where.ucx, *ledger_);
    p.endpoint = worker_->connect(where.ucx, [this, node, connection = p.connection](ucs_status_t status) {
      post([=, this] { lost(node, connection, ucs_status_string(status)); });
    });
  } catch (const std::runtime_error& error) {
    lost_[node] = error.what();
    return;
  }
  lost_.erase(node);
  peers_[node] = std::move(made);
  knock(p, where.door);
  greet(p);
}

void data_plane::transfer_loop::greet(peer& to) {
  auto payload = std::make_shared<const std::vector<std::byte>>(write(greeting{to.connection, address_}));
  message m = new_message(message_kind::greeting, to);
  seal(m, options_.key, *payload);
  // A greeting that does not arrive means a dead connection, which the endpoint reports by itself.
  worker_->send(to.endpoint, std::as_bytes(std::span(&m, 1)), *payload, payload, nullptr);
}

void data_plane::transfer_loop::on_greeting(const message& m, const greeting& g) {
  const auto where = read_address(g.address);
  if (closed_ || !where || where->life != m.from_life || dropped_.contains({m.from, m.from_life})) {
    count([](data_plane_stats& s) { ++s.requests_refused; });
    return;
  }
  auto known = peers_.find(m.from);
  const bool same = known != peers_.end() && known->second->life == m.from_life
                    && (known->second->remote_connection == 0 || known->second->remote_connection == g.connection);
  if (!same) {
    if (known != peers_.end())
      forget(m.from, "it has connected anew");
    connect(m.from, *where, g.address);
    known = peers_.find(m.from);
    if (known == peers_.end())
      return;
  }
  known->second->remote_connection = g.connection;
}

void data_plane::transfer_loop::lost(std::uint64_t node, std::uint64_t connection, const std::string& cause) {
  const auto known = peers_.find(node);
  if (known != peers_.end() && known->second->connection == connection)
    forget(node, "connection lost: " + cause);
}

void data_plane::transfer_loop::forget(std::uint64_t node, const std::string& cause) {
  const auto known = peers_.find(node);
  const auto last = std::move(known->second);
  peers_.erase(known);
  for (auto& [ticket, fan] : fans_)
    fan.lost({node, last->life});
  lost_[node] = cause;
  disconnect(*last);
  std::vector<std::uint64_t> numbers;
  for (const auto& [number, p] : pulls_)
    if ((p.life != 0 ? p.giver : p.wanted.owner) == node)
      numbers.push_back(number);
  for (const std::uint64_t number : numbers)
    failed(number, pull_status::peer_lost, cause);
}

void data_plane::transfer_loop::disconnect(peer& from) {
  worker_->close(from.endpoint);
  if (from.line)
    from.line->close();
}

std::string data_plane::transfer_loop::describe_peers() const {
  std::string text =
      "node " + std::to_string(options_.node) + ": " + choice_.transports + " on " + choice_.devices + "\n";
  for (const auto& [node, p] : peers_) {
    text += "node " + std::to_string(node) + ": " + worker_->transports(p->endpoint) + ", peer failure handling";
    if (p->lending == peer::loans::given)
      text += "; its memory is mapped";
    if (p->remote_connection == 0)
      text += "; not greeted yet";
    text += "\n";
  }
  for (const auto& [node, cause] : lost_)
    text += "node " + std::to_string(node) + ": gone: " + cause + "\n";
  return text;
}

std::vector<peer_lane> data_plane::transfer_loop::settled_lanes() const {
  std::vector<peer_lane> lanes;
  for (const auto& [node, p] : peers_)
    if (p->remote_connection != 0 && p->lending != peer::loans::asked_for) {
      // UCX prints pages for each answer. A peer from which nothing has come since is reached as it was.
      if (p->transports.empty() || p->asked_at_bytes != p->bytes_pulled) {
        p->transports = worker_->transports(p->endpoint);
        p->asked_at_bytes = p->bytes_pulled;
      }
      lanes.push_back({.node = node,
                       .lane = p->transports + (options_.encrypt ? ", encrypted" : "")
                               + (p->lending == peer::loans::given ? ", large ones mapped" : ""),
                       .bytes_pulled = p->bytes_pulled,
                       .bytes_mapped = p->bytes_mapped});
    }
  return lanes;
}

} // namespace millrace::transport
