#include "runtime/access/encryption.hpp"
#include "runtime/transport/transfer_loop.hpp"

#include <algorithm>
#include <utility>

/// Bytes that are encrypted on their way: in pieces, so that one is encrypted while another travels.
namespace millrace::transport {
namespace {

/// Pieces of an answer that travel at once.
constexpr std::size_t most_under_way = 8;

} // namespace

// ---- as giver

/// An answer of which some is to be sent.
struct data_plane::transfer_loop::sealed_answer {
  bundle asked;
  packing where; ///< as the reader has it
  message header;
  std::size_t column = 0, at = 0; ///< that the next piece begins with
  std::size_t under_way = 0;

  bool ended() const { return column == asked.columns().size(); }

  /// Passes over columns without bytes, and to the next one at a column's end.
  void settle() {
    for (; !ended() && at == asked.columns()[column].bytes.size(); at = 0)
      ++column;
  }
};

void data_plane::transfer_loop::send_sealed(ucp_ep_h back, const message& request, bundle asked) {
  const auto answer = std::make_shared<sealed_answer>();
  std::vector<tensor_spec> layout;
  for (const auto& column : asked.columns())
    layout.push_back(column.spec);
  answer->where = pack(layout);
  answer->header = answer_to(request, message_kind::sealed_piece);
  answer->asked = std::move(asked);
  answer->settle();
  const auto known = peers_.find(request.from);
  if (known != peers_.end() && known->second->life == request.from_life)
    return go_on(answer);
  while (!answer->ended()) // it has not been greeted: the way back is there for this call alone
    send_next(answer, back);
}

void data_plane::transfer_loop::go_on(const std::shared_ptr<sealed_answer>& with) {
  const auto to = peers_.find(with->header.to);
  if (closed_ || to == peers_.end() || to->second->life != with->header.to_life)
    return;
  while (!with->ended() && with->under_way < most_under_way)
    send_next(with, to->second->endpoint);
}

void data_plane::transfer_loop::send_next(const std::shared_ptr<sealed_answer>& of, ucp_ep_h to) {
  const auto column = of->asked.columns()[of->column].bytes;
  const auto plain = column.subspan(of->at, std::min(sealed_piece_bytes, column.size() - of->at));
  auto header = of->header;
  header.sequence = ++last_sequence_;
  header.argument = of->where.offsets[of->column] + of->at;
  const auto block = pool_.take(plain.size() + access::tag_bytes);
  access::encrypt(piece_key(header, options_.key), plain, block.bytes);
  seal(header, options_.key);
  of->at += plain.size();
  of->settle();
  ++of->under_way;
  worker_->send(to, std::as_bytes(std::span(&header, 1)), block.bytes, block.memory, [this, of](ucs_status_t status) {
    --of->under_way;
    if (status == UCS_OK && !of->ended())
      post([this, of] { go_on(of); });
  });
}

// ---- as reader

void data_plane::transfer_loop::on_sealed_piece(ucx_worker::incoming& in, const message& m) {
  const auto asked = pull_answered_by(m);
  if (!asked)
    return;
  pending_pull& p = *asked;
  const auto& offsets = p.where.offsets;
  const auto column = std::upper_bound(offsets.begin(), offsets.end(), m.argument) - offsets.begin();
  const auto at = column == 0 ? std::size_t{0} : static_cast<std::size_t>(column - 1);
  const auto size = column == 0 ? 0 : bytes_of(p.layout[at]);
  const auto begin = column == 0 ? 0 : m.argument - offsets[at];
  const bool expected = options_.encrypt && m.ticket == p.wanted.id && begin < size && begin % sealed_piece_bytes == 0
                        && in.bytes == std::min(sealed_piece_bytes, size - begin) + access::tag_bytes
                        && p.sealed.insert(m.argument).second;
  if (!expected)
    return finish(m.pull, pull_status::corrupt, "the owner sent what the ticket does not say");
  if (!make_block(p))
    return finish(m.pull, pull_status::corrupt, "no memory for " + std::to_string(p.where.bytes) + " bytes");
  const auto encrypted = pool_.take(in.bytes);
  worker_->receive(in, encrypted.bytes, encrypted.memory,
                   [this, m, attempt = p.attempt, encrypted](ucs_status_t status) {
                     unsealed(m, attempt, encrypted.bytes, status);
                   });
}

void data_plane::transfer_loop::unsealed(const message& m, int attempt, std::span<const std::byte> encrypted,
                                         ucs_status_t status) {
  const auto found = pulls_.find(m.pull);
  if (found == pulls_.end() || found->second.attempt != attempt)
    return;
  if (status != UCS_OK)
    return failed(m.pull, pull_status::peer_lost, ucs_status_string(status));
  pending_pull& p = found->second;
  const auto bytes = encrypted.size() - access::tag_bytes;
  if (!access::decrypt(piece_key(m, options_.key), encrypted, p.block.bytes.subspan(m.argument, bytes)))
    return finish(m.pull, pull_status::corrupt, "bytes came that were changed on their way");
  p.sealed_missing -= bytes;
  if (p.sealed_missing == 0)
    arrived(m.pull, attempt, p.columns_missing, UCS_OK);
}

} // namespace millrace::transport
