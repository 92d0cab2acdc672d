#include "runtime/transport/transfer_loop.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <numeric>

namespace millrace::transport {
namespace {

std::pair<pull_status, std::string> meaning_of(std::uint64_t reason) {
  switch (static_cast<refusal_reason>(reason)) {
  case refusal_reason::not_authorised:
    return {pull_status::refused, "the owner does not accept this node"};
  case refusal_reason::replayed:
    return {pull_status::refused, "the owner has seen this request before"};
  case refusal_reason::no_such_bundle:
    return {pull_status::released, "the bundle was released"};
  case refusal_reason::other_size:
    return {pull_status::corrupt, "the owner's bundle has another size"};
  case refusal_reason::other_columns:
    return {pull_status::corrupt, "the owner's bundle has other columns"};
  }
  return {pull_status::refused, "the owner refused with the unknown reason " + std::to_string(reason)};
}

} // namespace

void data_plane::transfer_loop::start_pull(ticket t, std::optional<wanted_columns> wanted,
                                           std::chrono::milliseconds timeout, pull_handler done) {
  post([this, t = std::move(t), wanted = std::move(wanted), deadline = clock::now() + timeout,
        done = std::move(done)]() mutable { pull(std::move(t), wanted, deadline, std::move(done)); });
}

void data_plane::transfer_loop::pull(ticket t, const std::optional<wanted_columns>& wanted, clock::time_point deadline,
                                     pull_handler done) {
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
    try {
      auto value = wanted ? here->only(places_of(*wanted, here->layout())) : std::move(*here);
      count([](data_plane_stats& s) { ++s.pulls_in_process; });
      return finish(number, pull_status::ok, {}, std::move(value));
    } catch (const std::out_of_range& error) {
      return finish(number, pull_status::no_such_column, error.what());
    }
  }
  try {
    plan(p, wanted);
  } catch (const std::out_of_range& error) {
    return finish(number, pull_status::no_such_column, error.what());
  } catch (const std::invalid_argument& error) {
    return finish(number, pull_status::corrupt, error.what());
  }
  if (wanted && p.places.empty())
    return finish(number, pull_status::ok, {});
  p.timer = std::make_unique<boost::asio::steady_timer>(loop_, deadline);
  p.timer->async_wait([this, number](const boost::system::error_code& error) {
    if (!error)
      finish(number, pull_status::timed_out, "its deadline is over");
  });
  queue_.push_back(number);
  start_next();
}

void data_plane::transfer_loop::plan(pending_pull& p, const std::optional<wanted_columns>& wanted) {
  const auto& whole = p.wanted.layout;
  pack(whole); // refuses a layout that cannot be
  std::uint64_t bytes = 0;
  for (const auto& spec : whole)
    bytes += bytes_of(spec);
  if (bytes != p.wanted.bytes)
    throw std::invalid_argument("the ticket says " + std::to_string(p.wanted.bytes) + " bytes, its columns have "
                                + std::to_string(bytes));
  if (!p.wanted.checksums.empty() && p.wanted.checksums.size() != whole.size())
    throw std::invalid_argument("the ticket has " + std::to_string(p.wanted.checksums.size()) + " checksums for "
                                + std::to_string(whole.size()) + " columns");
  if (wanted) {
    p.places = places_of(*wanted, whole);
  } else {
    p.places.resize(whole.size());
    std::iota(p.places.begin(), p.places.end(), std::size_t{0});
  }
  for (const std::size_t place : p.places) {
    p.layout.push_back(whole[place]);
    p.bytes += bytes_of(whole[place]);
  }
  p.where = pack(p.layout);
  expect_all(p);
}

void data_plane::transfer_loop::expect_all(pending_pull& p) {
  p.arriving.assign(p.layout.size(), false);
  const auto with_bytes = std::ranges::count_if(p.layout, [](const tensor_spec& spec) { return bytes_of(spec) != 0; });
  p.columns_missing = std::max<std::size_t>(static_cast<std::size_t>(with_bytes), 1);
  p.sealed.clear();
  p.sealed_missing = p.bytes;
}

void data_plane::transfer_loop::start_next() {
  while (!queue_.empty() && outstanding_ < options_.max_outstanding_pulls) {
    const std::uint64_t number = queue_.front();
    queue_.pop_front();
    if (pulls_.contains(number))
      request(number);
  }
  note_load();
}

void data_plane::transfer_loop::note_load() {
  count([this](data_plane_stats& s) {
    s.pulls_outstanding = outstanding_;
    s.pulls_queued = pulls_.size() - outstanding_;
  });
}

void data_plane::transfer_loop::request(std::uint64_t number) {
  pending_pull& p = pulls_.at(number);
  const auto known = peers_.find(p.wanted.owner);
  if (known == peers_.end()) {
    const auto gone = lost_.find(p.wanted.owner);
    return gone == lost_.end() ? finish(number, pull_status::peer_unknown, "this node has no such peer")
                               : finish(number, pull_status::peer_lost, gone->second);
  }
  peer& owner = *known->second;
  const bool must_be_shared = options_.transport == wire::shm;
  if (owner.lending == peer::loans::asked_for && (must_be_shared || p.bytes >= smallest_shared)) {
    owner.waiting.push_back(number);
    return;
  }
  if (must_be_shared && owner.lending != peer::loans::given)
    return finish(number, pull_status::not_shared, "its memory cannot be mapped here: " + owner.cause);
  ++outstanding_;
  p.giver = owner.node;
  p.life = owner.life;
  ask(number, owner, owner.lending == peer::loans::failed ? message_kind::copy : message_kind::pull);
}

void data_plane::transfer_loop::ask(std::uint64_t number, peer& giver, message_kind kind) {
  const pending_pull& p = pulls_.at(number);
  message m = new_message(kind, giver);
  m.ticket = p.wanted.id;
  m.owner = p.wanted.owner;
  m.pull = number;
  m.argument = p.wanted.bytes;
  auto payload = std::make_shared<std::vector<std::byte>>();
  if (p.places.size() < p.wanted.layout.size())
    *payload = write_places(p.places, p.wanted.layout.size());
  seal(m, options_.key, *payload);
  worker_->send(giver.endpoint, std::as_bytes(std::span(&m, 1)), *payload, payload,
                [this, number, attempt = p.attempt](ucs_status_t status) {
                  const auto found = pulls_.find(number);
                  if (status != UCS_OK && found != pulls_.end() && found->second.attempt == attempt)
                    failed(number, pull_status::peer_lost, ucs_status_string(status));
                });
}

bool data_plane::transfer_loop::make_block(pending_pull& p) {
  try {
    if (p.block.bytes.empty() && has_neighbours(p)) {
      p.shared = shared_memory::make(p.where.bytes);
      p.block = {{p.shared, p.shared->data()}, {p.shared->data(), p.where.bytes}};
    } else if (p.block.bytes.empty()) {
      p.block = pool_.take(p.where.bytes);
    }
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

data_plane::transfer_loop::pending_pull* data_plane::transfer_loop::pull_answered_by(const message& m) {
  const auto found = pulls_.find(m.pull);
  const bool asked = found != pulls_.end() && found->second.giver == m.from && found->second.life == m.from_life;
  return asked ? &found->second : nullptr;
}

void data_plane::transfer_loop::on_piece(ucx_worker::incoming& in, const message& m) {
  const auto asked = pull_answered_by(m);
  if (!asked)
    return;
  pending_pull& p = *asked;
  if (options_.encrypt && in.bytes > 0)
    return finish(m.pull, pull_status::corrupt, "the owner sent bytes that are not encrypted");
  if (!make_block(p))
    return finish(m.pull, pull_status::corrupt, "no memory for " + std::to_string(p.where.bytes) + " bytes");
  std::span<std::byte> to = p.block.bytes;
  std::size_t columns = p.columns_missing;
  bool expected = m.ticket == p.wanted.id;
  if (m.argument == whole_block) {
    for (auto column : p.arriving)
      expected = expected && !column;
    p.arriving.assign(p.arriving.size(), true);
  } else {
    const auto place = std::lower_bound(p.places.begin(), p.places.end(), m.argument);
    const auto at = static_cast<std::size_t>(place - p.places.begin());
    expected = expected && place != p.places.end() && *place == m.argument && !p.arriving[at];
    if (expected) {
      p.arriving[at] = true;
      to = to.subspan(p.where.offsets[at], bytes_of(p.layout[at]));
      columns = 1;
    }
  }
  if (!expected || in.bytes != to.size())
    return finish(m.pull, pull_status::corrupt, "the owner sent what the ticket does not say");
  worker_->receive(in, to, p.block.memory, [this, number = m.pull, attempt = p.attempt, columns](ucs_status_t status) {
    arrived(number, attempt, columns, status);
  });
}

void data_plane::transfer_loop::arrived(std::uint64_t number, int attempt, std::size_t columns, ucs_status_t status) {
  const auto found = pulls_.find(number);
  if (found == pulls_.end() || found->second.attempt != attempt)
    return;
  if (status != UCS_OK)
    return failed(number, pull_status::peer_lost, ucs_status_string(status));
  pending_pull& p = found->second;
  p.columns_missing -= columns;
  if (p.columns_missing != 0)
    return;
  count([&](data_plane_stats& s) { s.bytes_pulled += p.bytes; });
  if (const auto from = peers_.find(p.giver); from != peers_.end())
    from->second->bytes_pulled += p.bytes;
  check_and_finish(number, p);
}

void data_plane::transfer_loop::check_and_finish(std::uint64_t number, const pending_pull& p) {
  bundle value = p.shared ? bundle::over(p.layout, p.shared) : bundle::over(p.layout, p.block.bytes, p.block.memory);
  if (!p.wanted.checksums.empty()) {
    const auto sums = value.checksums();
    for (std::size_t i = 0; i < sums.size(); ++i)
      if (sums[i] != p.wanted.checksums[p.places[i]])
        return finish(number, pull_status::corrupt,
                      "the checksum of column '" + p.layout[i].name + "' is not the ticket's");
  }
  if (p.shared)
    p.shared->seal();
  if (p.places.size() == p.wanted.layout.size())
    keep(p.wanted, value);
  finish(number, pull_status::ok, {}, std::move(value));
}

void data_plane::transfer_loop::on_refusal(const message& m, bool authentic) {
  if (!pull_answered_by(m))
    return;
  if (!authentic)
    return finish(m.pull, pull_status::refused, "the owner holds the key of another run");
  const auto [status, cause] = meaning_of(m.argument);
  failed(m.pull, status, cause);
}

void data_plane::transfer_loop::release_remote(const ticket& t) {
  const auto known = peers_.find(t.owner);
  if (known == peers_.end())
    return;
  message m = new_message(message_kind::release, *known->second);
  m.ticket = t.id;
  seal(m, options_.key);
  worker_->send(known->second->endpoint, std::as_bytes(std::span(&m, 1)), {}, nullptr, nullptr);
}

/// The handler runs later, from the loop: never inside UCX.
void data_plane::transfer_loop::finish(std::uint64_t number, pull_status status, const std::string& cause,
                                       bundle value) {
  const auto found = pulls_.find(number);
  if (found == pulls_.end())
    return;
  pending_pull last = std::move(found->second);
  pulls_.erase(found);
  if (last.life != 0)
    --outstanding_;
  note_load();
  hand_on_to_all(last.waiting);
  pull_result result{status, std::move(value), {}};
  if (status != pull_status::ok) {
    const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(clock::now() - last.asked).count();
    result.error = "pull of ticket " + std::to_string(last.wanted.id) + " from node "
                   + std::to_string(last.wanted.owner) + ": " + cause + " (" + std::to_string(took)
                   + " ms after it was asked for)";
    count([](data_plane_stats& s) { ++s.pulls_failed; });
  }
  boost::asio::post(loop_, [this, done = std::move(last.done), result = std::move(result)]() mutable {
    done(std::move(result));
    start_next();
  });
}

} // namespace millrace::transport
