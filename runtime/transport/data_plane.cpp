#include "runtime/transport/data_plane.hpp"

#include "runtime/access/socket_calls.hpp"
#include "runtime/transport/transfer_loop.hpp"
#include "runtime/words/enum_words.hpp"
#include "runtime/words/no_signals.hpp"

#include <boost/asio/dispatch.hpp>
#include <boost/asio/post.hpp>
#include <openssl/rand.h>
#include <pthread.h>

#include <future>
#include <stdexcept>

namespace millrace::transport {

wire wire_from(std::string_view name) {
  if (const auto found = value_of<wire>(name))
    return *found;
  throw std::invalid_argument("transport '" + std::string(name) + "': want auto, rdma, shm or tcp");
}

void check_wire(wire how) {
  choose(how, look_around({}));
}

std::string_view name_of(pull_status status) {
  switch (status) {
  case pull_status::ok:
    return "ok";
  case pull_status::peer_unknown:
    return "peer unknown";
  case pull_status::peer_lost:
    return "peer lost";
  case pull_status::refused:
    return "refused";
  case pull_status::released:
    return "released";
  case pull_status::no_such_column:
    return "no such column";
  case pull_status::corrupt:
    return "corrupt";
  case pull_status::not_shared:
    return "not shared";
  case pull_status::timed_out:
    return "timed out";
  case pull_status::closed:
    return "closed";
  }
  return "unknown";
}

std::uint64_t random_number() {
  std::uint64_t number = 0;
  while (number == 0)
    if (RAND_bytes(reinterpret_cast<unsigned char*>(&number), sizeof number) != 1)
      throw std::runtime_error("OpenSSL has no random numbers");
  return number;
}

// ---- the thread -----------------------------------------------------------------------------------------------------

data_plane::transfer_loop::transfer_loop(data_plane_options options)
    : options_(std::move(options)), choice_(choose(options_.transport, look_around(options_.bind))),
      life_(random_number()), pool_(options_.pool_bytes),
      context_(choice_, {.ports = options_.ports, .v6 = options_.bind.find(':') != std::string::npos}) {
  if (options_.max_outstanding_pulls == 0)
    throw std::invalid_argument("max_outstanding_pulls: want at least 1");
  const access::guard_data guard(options_.key, ledger_);
  const auto guarded_before = access::guarded_ports();
  worker_ = std::make_unique<ucx_worker>(loop_, context_, [this](ucx_worker::incoming& in) { on_message(in); });
  if (choice_.tcp && access::guarded_ports() == guarded_before)
    throw std::logic_error("UCX has opened a port that nobody guards");
  address_ = write(node_address{life_, worker_->address(), open_door()});
  const no_signals quiet;
  thread_ = std::thread([this] { run(); });
}

data_plane::transfer_loop::~transfer_loop() {
  end();
}

void data_plane::transfer_loop::end() {
  if (!thread_.joinable())
    return;
  post([this] { close(); });
  thread_.join();
  loop_.restart();
  loop_.poll(); // what came when the thread had ended
}

void data_plane::transfer_loop::run() {
  pthread_setname_np(pthread_self(), "data-plane");
  const access::guard_data guard(options_.key, ledger_);
  loop_.run();
}

void data_plane::transfer_loop::close() {
  closed_ = true;
  while (!pulls_.empty())
    finish(pulls_.begin()->first, pull_status::closed, "the data plane is shut down");
  for (auto& [node, p] : peers_)
    disconnect(*p);
  peers_.clear();
  door_.reset();
  for (const auto& line : strangers_)
    line->close();
  for (const auto& [who, line] : lines_)
    line->close();
  worker_.reset();
  work_.reset();
}

void data_plane::transfer_loop::post(std::function<void()> work) {
  boost::asio::post(loop_, std::move(work));
}

data_plane_stats data_plane::transfer_loop::stats() const {
  data_plane_stats now;
  {
    const std::lock_guard lock(stats_mutex_);
    now = stats_;
  }
  const auto offered = published_.usage();
  now.live_tickets = offered.bundles;
  now.live_bytes = offered.bytes;
  const auto memory = pool_.usage();
  now.pool_bytes = memory.lent + memory.idle;
  now.pool_high_water = memory.high_water;
  return now;
}

std::string data_plane::transfer_loop::describe() {
  std::promise<std::string> text;
  boost::asio::dispatch(loop_, [&] { text.set_value(describe_peers()); });
  return text.get_future().get();
}

std::vector<peer_lane> data_plane::transfer_loop::lanes() {
  std::promise<std::vector<peer_lane>> found;
  boost::asio::dispatch(loop_, [&] { found.set_value(settled_lanes()); });
  return found.get_future().get();
}

// ---- the public face ------------------------------------------------------------------------------------------------

data_plane::data_plane(data_plane_options options) : transfers_(std::make_unique<transfer_loop>(std::move(options))) {
}

data_plane::~data_plane() = default;

std::uint64_t data_plane::node() const {
  return transfers_->options().node;
}

const data_plane_options& data_plane::options() const {
  return transfers_->options();
}

std::vector<std::byte> data_plane::address() const {
  return transfers_->address();
}

void data_plane::add_peer(std::uint64_t node, std::span<const std::byte> address) {
  auto where = read_address(address);
  if (!where)
    throw std::invalid_argument("the data plane's address of node " + std::to_string(node) + " is damaged");
  transfers_->post(
      [loop = transfers_.get(), node, where = std::move(*where),
       packed = std::vector<std::byte>(address.begin(), address.end())] { loop->add_peer(node, where, packed); });
}

void data_plane::drop_peer(std::uint64_t node) {
  transfers_->post([loop = transfers_.get(), node] { loop->drop_peer(node); });
}

ticket data_plane::publish(bundle value, checksums how) {
  if (value.shared())
    value.shared()->seal();
  ticket t;
  t.owner = node();
  t.bytes = value.bytes();
  t.layout = value.layout();
  if (how == checksums::computed)
    t.checksums = value.checksums();
  t.id = transfers_->bundles().add(std::move(value));
  return t;
}

void data_plane::release(std::uint64_t id) {
  transfers_->bundles().remove(id);
}

void data_plane::release_remote(const ticket& t) {
  if (t.owner == node())
    return release(t.id);
  transfers_->post([loop = transfers_.get(), t] { loop->release_remote(t); });
}

void data_plane::pull(ticket t, std::chrono::milliseconds timeout, pull_handler done) {
  transfers_->start_pull(std::move(t), std::nullopt, timeout, std::move(done));
}

void data_plane::pull(ticket t, wanted_columns wanted, std::chrono::milliseconds timeout, pull_handler done) {
  transfers_->start_pull(std::move(t), std::move(wanted), timeout, std::move(done));
}

void data_plane::ask_if_read_in_place(std::uint64_t node, std::function<void(bool in_place)> done) {
  transfers_->post([loop = transfers_.get(), node, done = std::move(done)] { done(loop->reads_in_place(node)); });
}

void data_plane::close() {
  transfers_->end();
}

data_plane_stats data_plane::stats() const {
  return transfers_->stats();
}

std::string data_plane::describe() const {
  return transfers_->describe();
}

std::vector<peer_lane> data_plane::lanes() const {
  return transfers_->lanes();
}

} // namespace millrace::transport
