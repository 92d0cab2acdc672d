#include "runtime/access/frame_judge.hpp"

#include "runtime/access/packed_words.hpp"
#include "runtime/access/rendezvous_frame.hpp"
#include "runtime/access/wireup_frame.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace millrace::access {
namespace {

/// Of a connection, as a bit each; an answer may be a request too.
constexpr std::uint64_t event_asks = 1, event_answers = 2, event_answers_and_asks = 3, event_ends = 4;

std::string numbered(const char* what, std::uint64_t number) {
  return what + std::string(" ") + std::to_string(number);
}

} // namespace

bool is_sent_over_tcp(std::uint8_t kind) {
  constexpr std::array<std::uint8_t, 10> kinds{wireup,     ready_to_send,  fetched,         ready_to_receive,
                                               fragment,   message_begins, message_goes_on, message_to_answer,
                                               connection, keep_alive};
  return std::ranges::find(kinds, kind) != kinds.end();
}

frame_judge::frame_judge(std::shared_ptr<data_ledger> ledger, const ends& about)
    : ledger_(std::move(ledger)), accepted_(about.accepted), family_(about.own.ss_family) {
  if (!accepted_)
    other_ = place_of(about.other);
}

frame_judge::~frame_judge() {
  ledger_->forget(this);
}

frame_judge::place frame_judge::place_of(const sockaddr_storage& where) {
  const bool v6 = where.ss_family == AF_INET6;
  const auto* four = reinterpret_cast<const sockaddr_in*>(&where);
  const auto* six = reinterpret_cast<const sockaddr_in6*>(&where);
  const auto bytes =
      v6 ? std::as_bytes(std::span(six->sin6_addr.s6_addr)) : std::as_bytes(std::span(&four->sin_addr, 1));
  return {{bytes.begin(), bytes.end()}, ntohs(v6 ? six->sin6_port : four->sin_port)};
}

std::string frame_judge::judge(std::uint8_t kind, std::span<const std::byte> content) {
  switch (kind) {
  case connection:
    return judge_event(content);
  case wireup:
    return judge_wireup(content);
  case ready_to_send: {
    offer_frame offer;
    if (auto why = read_offer(content, offer); !why.empty())
      return why;
    return judge_message(offer.endpoint);
  }
  case ready_to_receive:
    return judge_demand(content);
  case fetched: {
    refusal_frame refused;
    if (auto why = read_refusal(content, refused); !why.empty())
      return why;
    return ledger_->take_offer(refused.request, this)
               ? ""
               : numbered("a refusal of request", refused.request) + ", not offered";
  }
  default:
    return "";
  }
}

std::string frame_judge::judge_message(std::uint64_t endpoint) {
  return ledger_->may_name(endpoint, this) ? "" : numbered("a message to endpoint", endpoint) + ", not told to it";
}

std::string frame_judge::judge_handler(std::uint64_t handler, std::uint64_t flags) const {
  return handler == data_message_handler && flags == data_message_flags
             ? ""
             : numbered("a message for handler", handler) + numbered(", flags", flags);
}

std::string frame_judge::judge_fragment(std::uint64_t request, std::uint64_t offset, std::uint64_t bytes) {
  return ledger_->may_send(request, offset, bytes, this)
             ? ""
             : "a fragment of " + std::to_string(bytes) + " bytes from " + std::to_string(offset)
                   + numbered(" on for request", request) + ", not demanded";
}

/// A request comes once: first from whom has connected, or later, from whom answers over the same connection. An end
/// comes once, an answer to each request once: UCX takes an endpoint that is not in the state for it out of lists where
/// it is not (`uct_tcp_cm_handle_conn_pkt`, src/uct/tcp/tcp_cm.c).
std::string frame_judge::judge_event(std::span<const std::byte> content) {
  const auto event = packed_words(content).number(4);
  const auto now = [&] {
    switch (event) {
    case event_asks:
      return !std::exchange(heard_request_, true) && (accepted_ || heard_answer_);
    case event_answers:
      return !std::exchange(heard_answer_, true) && (!accepted_ || said_request_);
    case event_answers_and_asks:
      return !accepted_ && !std::exchange(heard_answer_, true) && !std::exchange(heard_request_, true);
    case event_ends:
      return !std::exchange(heard_end_, true) && (accepted_ ? heard_request_ : heard_answer_);
    default:
      return false;
    }
  };
  if (!now())
    return numbered("a connection's event", event) + " out of turn";
  return event == event_asks ? judge_request(content) : "";
}

std::string frame_judge::judge_request(std::span<const std::byte> content) {
  packed_words words(content);
  words.number(4);
  const auto flags = words.number(1), number = words.number(8);
  sockaddr_storage from{};
  const auto bytes = words.take(family_ == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in));
  if (words.whole())
    std::memcpy(&from, bytes.data(), bytes.size());
  if (!words.whole() || flags != 0 || number == UINT64_MAX || from.ss_family != family_)
    return "a request of " + std::to_string(content.size()) + " bytes, flags " + std::to_string(flags)
           + numbered(", number", number) + numbered(", family", from.ss_family);
  if (accepted_)
    other_ = place_of(from);
  return "";
}

std::string frame_judge::judge_wireup(std::span<const std::byte> content) {
  wireup_frame heard;
  if (auto why = read_wireup(content, heard); !why.empty())
    return why;
  if (heard.type == wireup_frame::reply)
    return !std::exchange(answered_, true) && ledger_->may_answer(heard.target, this)
               ? ""
               : numbered("a wireup reply to endpoint", heard.target) + ", which does not ask";
  if (std::exchange(asked_, true))
    return "a second wireup request";
  const bool from_there = std::ranges::any_of(heard.from.places, [&](const tcp_place& at) {
    return other_ && at.port == other_->port && (at.loopback || at.address == other_->address);
  });
  if (!from_there)
    return "a wireup request from another place than its connection";
  return ledger_->agrees(heard.from) ? "" : "a wireup request with another address than that of its worker";
}

std::string frame_judge::judge_demand(std::span<const std::byte> content) {
  demand_frame demand;
  if (auto why = read_demand(content, demand); !why.empty())
    return why;
  return ledger_->take_offer(demand.offered, this) == demand.bytes
             ? ""
             : "a demand for " + std::to_string(demand.bytes) + numbered(" bytes of request", demand.offered)
                   + ", not offered";
}

void frame_judge::told(std::uint8_t kind, std::span<const std::byte> content) {
  packed_words words(content);
  switch (kind) {
  case connection:
    said_request_ = said_request_ || (words.number(4) & event_asks) != 0;
    break;
  case wireup: {
    const auto type = words.number(1);
    words.number(3);
    ledger_->told_endpoint(words.number(8), this, type == wireup_frame::request);
    break;
  }
  case ready_to_send: {
    words.take(16);
    const auto request = words.number(8);
    words.number(8);
    ledger_->told_offer(request, words.number(8), this);
    break;
  }
  case ready_to_receive: {
    words.number(8);
    const auto request = words.number(8);
    words.number(8);
    ledger_->told_demand(request, words.number(8), this);
    break;
  }
  default:
    break;
  }
}

} // namespace millrace::access
