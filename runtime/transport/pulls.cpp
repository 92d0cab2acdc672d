#include "runtime/transport/engine.hpp"

#include <boost/asio/post.hpp>

namespace millrace::transport {
namespace {

std::pair<pull_status, std::string> meaning_of(std::uint64_t reason) {
  switch (static_cast<refusal_reason>(reason)) {
  case refusal_reason::not_authorised: return {pull_status::refused, "the owner does not accept this node"};
  case refusal_reason::replayed: return {pull_status::refused, "the owner has seen this request before"};
  case refusal_reason::no_such_bundle: return {pull_status::released, "the bundle was released"};
  case refusal_reason::other_size: return {pull_status::corrupt, "the owner's bundle has another size"};
  }
  return {pull_status::refused, "the owner refused with the unknown reason " + std::to_string(reason)};
}

} // namespace

void data_plane::engine::pull(ticket t, clock::time_point deadline, pull_handler done) {
  const std::uint64_t number = ++last_pull_;
  count([](data_plane_stats& s) { ++s.pulls; });
  pending_pull& p = pulls_[number];
  p.wanted = std::move(t);
  p.done = std::move(done);
  p.asked = clock::now();
  if (closed_)
    return finish(number, pull_status::closed, "the data plane is shut down");
  if (p.wanted.owner == options_.node) {
    auto here = published_.find(p.wanted.id);
    if (!here)
      return finish(number, pull_status::released, "the bundle was released");
    count([](data_plane_stats& s) { ++s.pulls_in_process; });
    return finish(number, pull_status::ok, {}, std::move(*here));
  }
  std::size_t bytes = 0;
  try {
    p.where = pack(p.wanted.layout);
    p.arriving.resize(p.wanted.layout.size());
    p.columns_missing = 0;
    for (const auto& spec : p.wanted.layout) {
      bytes += bytes_of(spec);
      p.columns_missing += bytes_of(spec) != 0;
    }
    p.columns_missing = std::max<std::size_t>(p.columns_missing, 1);
  } catch (const std::invalid_argument& error) {
    return finish(number, pull_status::corrupt, error.what());
  }
  if (bytes != p.wanted.bytes)
    return finish(number, pull_status::corrupt,
                  "the ticket says " + std::to_string(p.wanted.bytes) + " bytes, its columns have " + std::to_string(bytes));
  p.timer = std::make_unique<boost::asio::steady_timer>(loop_, deadline);
  p.timer->async_wait([this, number](const boost::system::error_code& error) {
    if (!error)
      finish(number, pull_status::timed_out, "its deadline is over");
  });
  queue_.push_back(number);
  start_next();
}

void data_plane::engine::start_next() {
  while (!queue_.empty() && outstanding_ < options_.max_outstanding_pulls) {
    const std::uint64_t number = queue_.front();
    queue_.pop_front();
    if (pulls_.contains(number))
      request(number);
  }
  note_load();
}

void data_plane::engine::note_load() {
  count([this](data_plane_stats& s) {
    s.pulls_outstanding = outstanding_;
    s.pulls_queued = pulls_.size() - outstanding_;
  });
}

void data_plane::engine::request(std::uint64_t number) {
  pending_pull& p = pulls_.at(number);
  const auto known = peers_.find(p.wanted.owner);
  if (known == peers_.end()) {
    const auto gone = lost_.find(p.wanted.owner);
    return gone == lost_.end() ? finish(number, pull_status::peer_unknown, "this node has no such peer")
                               : finish(number, pull_status::peer_lost, gone->second);
  }
  try {
    p.block = pool_.take(p.where.bytes);
  } catch (const std::bad_alloc&) {
    return finish(number, pull_status::corrupt, "no memory for " + std::to_string(p.where.bytes) + " bytes");
  }
  ++outstanding_;
  p.life = known->second->life;
  message m = new_message(message_kind::pull, *known->second);
  m.ticket = p.wanted.id;
  m.pull = number;
  m.argument = p.wanted.bytes;
  seal(m, options_.key);
  const way there = way_to(*known->second);
  there.worker->send(there.endpoint, std::as_bytes(std::span(&m, 1)), {}, nullptr, [this, number](ucs_status_t status) {
    if (status != UCS_OK)
      finish(number, pull_status::peer_lost, ucs_status_string(status));
  });
}

void data_plane::engine::on_piece(ucx_worker& worker, ucx_worker::incoming& in, const message& m) {
  const auto found = pulls_.find(m.pull);
  if (found == pulls_.end() || found->second.wanted.owner != m.from || found->second.life != m.from_life)
    return;
  pending_pull& p = found->second;
  std::span<std::byte> to = p.block.bytes;
  std::size_t columns = p.columns_missing;
  bool expected = m.ticket == p.wanted.id;
  if (m.argument == whole_block) {
    for (auto column : p.arriving)
      expected = expected && !column;
    p.arriving.assign(p.arriving.size(), true);
  } else if (m.argument < p.arriving.size() && !p.arriving[m.argument]) {
    p.arriving[m.argument] = true;
    to = to.subspan(p.where.offsets[m.argument], bytes_of(p.wanted.layout[m.argument]));
    columns = 1;
  } else {
    expected = false;
  }
  if (!expected || in.bytes != to.size())
    return finish(m.pull, pull_status::corrupt, "the owner sent what the ticket does not say");
  worker.receive(in, to, p.block.memory,
                 [this, number = m.pull, columns](ucs_status_t status) { arrived(number, columns, status); });
}

void data_plane::engine::arrived(std::uint64_t number, std::size_t columns, ucs_status_t status) {
  const auto found = pulls_.find(number);
  if (found == pulls_.end())
    return;
  if (status != UCS_OK)
    return finish(number, pull_status::peer_lost, ucs_status_string(status));
  pending_pull& p = found->second;
  p.columns_missing -= columns;
  if (p.columns_missing != 0)
    return;
  count([&](data_plane_stats& s) { s.bytes_pulled += p.wanted.bytes; });
  bundle value = bundle::over(p.wanted.layout, p.block.bytes, p.block.memory);
  if (p.wanted.checksum != 0 && value.checksum() != p.wanted.checksum)
    return finish(number, pull_status::corrupt, "the checksum of what came is not the ticket's");
  finish(number, pull_status::ok, {}, std::move(value));
}

void data_plane::engine::on_refusal(const message& m, bool authentic) {
  const auto found = pulls_.find(m.pull);
  if (found == pulls_.end() || found->second.wanted.owner != m.from || found->second.life != m.from_life)
    return;
  if (!authentic)
    return finish(m.pull, pull_status::refused, "the owner holds the key of another run");
  const auto [status, cause] = meaning_of(m.argument);
  finish(m.pull, status, cause);
}

void data_plane::engine::release_remote(const ticket& t) {
  const auto known = peers_.find(t.owner);
  if (known == peers_.end())
    return;
  message m = new_message(message_kind::release, *known->second);
  m.ticket = t.id;
  seal(m, options_.key);
  const way there = way_to(*known->second);
  there.worker->send(there.endpoint, std::as_bytes(std::span(&m, 1)), {}, nullptr, nullptr);
}

/// The handler runs later, from the loop: never inside UCX.
void data_plane::engine::finish(std::uint64_t number, pull_status status, const std::string& cause, bundle value) {
  const auto found = pulls_.find(number);
  if (found == pulls_.end())
    return;
  pending_pull last = std::move(found->second);
  pulls_.erase(found);
  if (last.life != 0)
    --outstanding_;
  note_load();
  pull_result result{status, std::move(value), {}};
  if (status != pull_status::ok) {
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - last.asked).count();
    result.error = "pull of ticket " + std::to_string(last.wanted.id) + " from node " + std::to_string(last.wanted.owner) +
                   ": " + cause + " (" + std::to_string(took) + " ms after it was asked for)";
    count([](data_plane_stats& s) { ++s.pulls_failed; });
  }
  boost::asio::post(loop_, [this, done = std::move(last.done), result = std::move(result)]() mutable {
    done(std::move(result));
    start_next();
  });
}

} // namespace millrace::transport
