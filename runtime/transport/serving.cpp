#include "runtime/transport/transfer_loop.hpp"

namespace millrace::transport {
namespace {

/// Columns of no more bytes together are copied into one block: that costs less than a message for each of them.
constexpr std::size_t most_bytes_together = 16 << 10;

} // namespace

message data_plane::transfer_loop::message_to(std::uint64_t node, std::uint64_t life, message_kind kind) const {
  message m;
  m.kind = kind;
  m.from = options_.node;
  m.from_life = life_;
  m.to = node;
  m.to_life = life;
  return m;
}

message data_plane::transfer_loop::new_message(message_kind kind, const peer& to) {
  message m = message_to(to.node, to.life, kind);
  m.sequence = ++last_sequence_;
  return m;
}

message data_plane::transfer_loop::answer_to(const message& request, message_kind kind) const {
  message m = message_to(request.from, request.from_life, kind);
  m.ticket = request.ticket;
  m.owner = request.owner;
  m.pull = request.pull;
  return m;
}

/// The only entrance for what others say over UCX: nothing after it sees a message whose MAC is wrong, except refusals,
/// which say of themselves whether they are authentic.
void data_plane::transfer_loop::on_message(ucx_worker::incoming& in) {
  const auto refused = [this] { count([](data_plane_stats& s) { ++s.requests_refused; }); };
  const auto m = read_message(in.header);
  if (closed_ || !m)
    return refused();
  if (m->kind == message_kind::piece || m->kind == message_kind::sealed_piece) {
    if (is_for_us(*m) && sealed_with(*m, options_.key))
      m->kind == message_kind::piece ? on_piece(in, *m) : on_sealed_piece(in, *m);
    return;
  }
  if (in.data != nullptr)
    return refused(); // nothing but a piece is large
  const bool authentic = is_for_us(*m) && sealed_with(*m, options_.key, in.payload);
  if (m->kind == message_kind::refusal)
    return on_refusal(*m, authentic);
  if (m->kind == message_kind::elsewhere)
    return authentic ? on_elsewhere(*m) : refused();
  const bool fresh = authentic && windows_[{m->from, m->from_life}].accept(m->sequence);
  if (m->kind == message_kind::pull || m->kind == message_kind::copy) {
    ucp_ep_h back = in.reply;
    if (const auto known = peers_.find(m->from); fresh && known != peers_.end() && known->second->life == m->from_life)
      back = known->second->endpoint;
    if (back != nullptr && worker_->sends_under_way(back) >= options_.max_waiting_answers)
      return refused();
    if (!fresh || dropped_.contains({m->from, m->from_life}))
      return refuse(back, *m, authentic && !fresh ? refusal_reason::replayed : refusal_reason::not_authorised);
    return serve(back, *m, in.payload);
  }
  if (!fresh)
    return refused();
  if (m->kind == message_kind::release) {
    published_.remove(m->ticket);
  } else if (m->kind == message_kind::greeting) {
    if (auto g = read_greeting(in.payload))
      post([this, m = *m, g = std::move(*g)] { on_greeting(m, g); });
    else
      refused();
  }
}

void data_plane::transfer_loop::serve(ucp_ep_h back, const message& request, std::span<const std::byte> payload) {
  if (back == nullptr)
    return;
  if (request.owner != options_.node)
    return payload.empty() ? hand_on(back, request) : refuse(back, request, refusal_reason::other_columns);
  const auto found = published_.find(request.ticket);
  if (!found || found->bytes() != request.argument)
    return refuse(back, request, found ? refusal_reason::other_size : refusal_reason::no_such_bundle);
  const auto wanted = read_places(payload, found->columns().size());
  if (!wanted)
    return refuse(back, request, refusal_reason::other_columns);
  give(back, request, *found, *wanted);
}

void data_plane::transfer_loop::give(ucp_ep_h back, const message& request, const bundle& whole,
                                     const std::vector<std::size_t>& places) {
  bundle asked = whole.only(places);
  const bool large = request.kind == message_kind::pull && asked.bytes() >= smallest_shared;
  const bool lent = large && lend(request, whole);
  if (large && !lent && request.owner == options_.node && places.size() == whole.columns().size()
      && send_elsewhere(back, request))
    return;
  count([&](data_plane_stats& s) {
    s.bytes_served += asked.bytes();
    s.bytes_lent += lent ? asked.bytes() : 0;
  });
  if (lent)
    return;
  if (options_.encrypt && asked.bytes() > 0)
    return send_sealed(back, request, asked);
  if (!asked.block() && asked.bytes() <= most_bytes_together)
    asked = bundle_builder().add_all(asked).finish();
  message header = answer_to(request, message_kind::piece);
  header.argument = whole_block;
  if (asked.block() || asked.bytes() == 0)
    return send_piece(back, header, asked, asked.block().value_or(std::span<const std::byte>{}));
  for (std::size_t i = 0; i < places.size(); ++i) {
    header.argument = places[i];
    if (const auto bytes = asked.columns()[i].bytes; !bytes.empty())
      send_piece(back, header, asked, bytes);
  }
}

void data_plane::transfer_loop::send_piece(ucp_ep_h back, message header, const bundle& from,
                                           std::span<const std::byte> bytes) {
  seal(header, options_.key);
  worker_->send(back, std::as_bytes(std::span(&header, 1)), bytes, from.owner(), nullptr);
}

void data_plane::transfer_loop::refuse(ucp_ep_h back, const message& request, refusal_reason reason) {
  if (reason == refusal_reason::not_authorised || reason == refusal_reason::replayed)
    count([](data_plane_stats& s) { ++s.requests_refused; });
  if (back == nullptr)
    return;
  message m = answer_to(request, message_kind::refusal);
  m.argument = static_cast<std::uint64_t>(reason);
  seal(m, options_.key);
  worker_->send(back, std::as_bytes(std::span(&m, 1)), {}, nullptr, nullptr);
}

} // namespace millrace::transport
