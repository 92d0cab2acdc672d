#include "runtime/transport/transfer_loop.hpp"

#include <unistd.h>

#include <algorithm>

/// Within a host: how this node lends its memory, and reads what others lend.
namespace millrace::transport {
namespace {

constexpr std::size_t most_strangers = 16;

/// The host in the name of a door.
std::string host_of(const std::string& door) {
  return door.substr(0, door.rfind('/'));
}

std::span<const std::byte> bytes_of(const message& m) {
  return std::as_bytes(std::span(&m, 1));
}

} // namespace

std::string data_plane::transfer_loop::open_door() {
  if (options_.transport == wire::tcp)
    return {};
  const auto number = std::to_string(random_number()) + std::to_string(random_number());
  const std::string name = host_identity() + "/millrace-" + number;
  try {
    door_ = std::make_unique<descriptor_door>(
        loop_, name, [this](std::shared_ptr<descriptor_line> line) { take_in(std::move(line)); });
    host_ = host_identity();
    return name;
  } catch (const std::runtime_error& error) {
    const auto why = std::string("this node cannot lend its memory: ") + error.what();
    if (options_.transport == wire::shm)
      throw std::runtime_error("transport 'shm': " + why);
    tell(why + "; processes of this host copy from it");
    return {};
  }
}

void data_plane::transfer_loop::tell(const std::string& line) const {
  if (options_.tell)
    options_.tell(line);
}

// ---- as owner

void data_plane::transfer_loop::take_in(std::shared_ptr<descriptor_line> line) {
  if (strangers_.size() == most_strangers) {
    strangers_.front()->close();
    strangers_.pop_front();
  }
  descriptor_line& opened = *line;
  strangers_.push_back(std::move(line));
  opened.listen(
      [this, &opened](std::span<const std::byte> bytes, int descriptor) {
        if (descriptor >= 0)
          ::close(descriptor);
        on_knock(opened, bytes);
      },
      [this, &opened] { forget_line(opened); });
}

std::shared_ptr<descriptor_line> data_plane::transfer_loop::forget_line(const descriptor_line& line) {
  std::shared_ptr<descriptor_line> last;
  const auto stranger = std::ranges::find_if(strangers_, [&](const auto& other) { return other.get() == &line; });
  if (stranger != strangers_.end()) {
    last = std::move(*stranger);
    strangers_.erase(stranger);
  }
  std::erase_if(lines_, [&](const auto& known) { return known.second.get() == &line; });
  return last;
}

void data_plane::transfer_loop::on_knock(descriptor_line& line, std::span<const std::byte> bytes) {
  const auto m = read_message(bytes);
  const auto kept = forget_line(line); // null for a second knock
  if (closed_ || !kept || !m || m->kind != message_kind::knock || !is_for_us(*m) || !sealed_with(*m, options_.key)
      || dropped_.contains({m->from, m->from_life}) || !windows_[{m->from, m->from_life}].accept(m->sequence)) {
    count([](data_plane_stats& s) { ++s.requests_refused; });
    return line.close();
  }
  message welcome = answer_to(*m, message_kind::welcome);
  welcome.argument = m->sequence;
  seal(welcome, options_.key);
  auto& known = lines_[{m->from, m->from_life}];
  if (known)
    known->close();
  known = kept;
  line.send(bytes_of(welcome));
}

bool data_plane::transfer_loop::lend(const message& request, const bundle& whole) {
  const auto line = lines_.find({request.from, request.from_life});
  if (line == lines_.end() || !whole.shared() || whole.shared()->descriptor() < 0)
    return false;
  message m = answer_to(request, message_kind::loan);
  m.argument = whole.block()->size();
  seal(m, options_.key);
  return line->second->send(bytes_of(m), whole.shared()->descriptor());
}

// ---- as reader

bool data_plane::transfer_loop::reads_in_place(std::uint64_t node) const {
  const auto known = peers_.find(node);
  return node == options_.node
         || (known != peers_.end()
             && (known->second->lending == peer::loans::given || known->second->lending == peer::loans::asked_for));
}

void data_plane::transfer_loop::knock(peer& at, const std::string& door) {
  if (options_.transport == wire::tcp)
    return; // to this node everyone is a host of his own
  at.host = host_of(door);
  if (door.empty() || at.host != host_identity()) {
    at.cause = door.empty() ? "it lends none" : "it is on another host";
    return;
  }
  try {
    at.line = descriptor_line::to_door(loop_, door);
  } catch (const std::runtime_error& error) {
    return no_loans(at, error.what());
  }
  message m = new_message(message_kind::knock, at);
  seal(m, options_.key);
  at.knocked = m.sequence;
  at.lending = peer::loans::asked_for;
  at.line->listen([this, &at](std::span<const std::byte> bytes, int lent) { on_line(at, bytes, lent); },
                  [this, &at] {
                    if (at.lending == peer::loans::asked_for)
                      no_loans(at, "it does not answer at its door");
                    else
                      post([this, node = at.node, connection = at.connection] {
                        lost(node, connection, "it has closed its door");
                      });
                  });
  at.line->send(bytes_of(m));
}

void data_plane::transfer_loop::on_line(peer& from, std::span<const std::byte> bytes, int lent) {
  const auto m = read_message(bytes);
  const bool authentic =
      m && m->from == from.node && m->from_life == from.life && is_for_us(*m) && sealed_with(*m, options_.key);
  if (authentic && m->kind == message_kind::loan)
    return on_loan(from, *m, lent);
  if (lent >= 0)
    ::close(lent);
  if (authentic && m->kind == message_kind::welcome && m->argument == from.knocked) {
    from.lending = peer::loans::given;
    resume(from);
  } else {
    count([](data_plane_stats& s) { ++s.requests_refused; });
  }
}

/// The owner's sums are not computed again: they are of these very pages, which nobody could change since.
void data_plane::transfer_loop::on_loan(peer& from, const message& m, int lent) {
  const auto asked = pull_answered_by(m);
  if (!asked || asked->wanted.id != m.ticket) {
    if (lent >= 0)
      ::close(lent);
    return;
  }
  const pending_pull& p = *asked;
  const auto bytes = pack(p.wanted.layout).bytes;
  if (m.argument != bytes) {
    if (lent >= 0)
      ::close(lent);
    return finish(m.pull, pull_status::corrupt, "the owner lends what the ticket does not say");
  }
  try {
    if (lent < 0)
      throw std::runtime_error("no descriptor came, as where this process has no more");
    const auto value = bundle::over(p.wanted.layout, shared_memory::open(lent, bytes)).only(p.places);
    count([&](data_plane_stats& s) {
      s.bytes_pulled += p.bytes;
      s.bytes_mapped += p.bytes;
    });
    from.bytes_pulled += p.bytes;
    from.bytes_mapped += p.bytes;
    finish(m.pull, pull_status::ok, {}, value);
  } catch (const std::runtime_error& error) {
    no_loans(from, error.what());
    if (options_.transport == wire::shm)
      return finish(m.pull, pull_status::not_shared, error.what());
    ask_owner(m.pull, error.what());
  }
}

/// The line stays: loans that are on their way over it may end well.
void data_plane::transfer_loop::no_loans(peer& from, const std::string& cause) {
  if (from.lending != peer::loans::failed && options_.transport != wire::shm)
    tell("node " + std::to_string(from.node) + " of this host cannot lend its memory (" + cause
         + "): its tensors are copied");
  from.lending = peer::loans::failed;
  from.cause = cause;
  resume(from);
}

void data_plane::transfer_loop::resume(peer& with) {
  queue_.insert(queue_.begin(), with.waiting.begin(), with.waiting.end());
  with.waiting.clear();
  start_next();
}

} // namespace millrace::transport
