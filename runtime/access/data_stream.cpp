#include "runtime/access/data_stream.hpp"

#include <algorithm>
#include <utility>

namespace millrace::access {
namespace {

constexpr std::uint64_t magic = 0xCAFEBABE12345678;

enum kind : std::uint8_t {
  wireup = 1,
  ready_to_send = 9,
  fetched = 10,
  ready_to_receive = 11,
  fragment = 12,
  put_ended = 16,
  message = 23,
  message_begins = 24,
  message_goes_on = 25,
  message_to_answer = 26,
  connection = 32,
  put = 33,
  put_received = 34,
  keep_alive = 35
};

/// Those of active messages and their rendezvous; UCX has others, which read and write this process's memory.
constexpr std::array<std::uint8_t, 14> known_kinds{
    wireup,         ready_to_send,   fetched,           ready_to_receive, fragment, put_ended,    message,
    message_begins, message_goes_on, message_to_answer, connection,       put,      put_received, keep_alive};

constexpr std::size_t part_header_bytes = 8, part_footer_bytes = 16, first_footer_bytes = 24;
/// UCX holds one from a frame's first byte to its last.
constexpr std::size_t frame_buffer_bytes = 2 * longest_data_frame;
constexpr std::uint64_t longest_message_in_parts = 16 << 20;
constexpr std::size_t most_messages_in_parts = 64;
constexpr std::size_t message_header_bytes = 8, put_bytes = 20, receipt_bytes = 4, event_bytes = 4;
constexpr std::uint64_t connection_asked = 1, connection_ended = 4;
/// An event, flags, an id, and the address of a socket: IPv4 or IPv6.
constexpr std::array<std::uint64_t, 2> request_bytes{13 + 16, 13 + 28};

/// What UCX puts behind a message: where to answer, and of a first part also which message it is and its size.
std::size_t footer_bytes(std::uint8_t kind) {
  return kind == message_to_answer ? 8 : kind == message_begins ? first_footer_bytes : 0;
}

bool in_parts(std::uint8_t kind) {
  return kind == message_begins || kind == message_goes_on;
}

} // namespace

data_stream::data_stream(bool accepted, room_test may_write)
    : may_write_(std::move(may_write)), next_(accepted ? part::magic : part::header), greeted_(!accepted) {
}

std::span<const std::byte> data_stream::gather(std::span<const std::byte> bytes, std::size_t wanted) {
  const auto more = bytes.first(std::min(bytes.size(), wanted - head_.size()));
  head_.insert(head_.end(), more.begin(), more.end());
  return bytes.subspan(more.size());
}

std::uint64_t data_stream::number(std::size_t at, std::size_t bytes) const {
  std::uint64_t value = 0;
  for (std::size_t i = bytes; i-- > 0;)
    value = value << 8 | std::to_integer<std::uint64_t>(head_[at + i]);
  return value;
}

std::string data_stream::take(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (next_ == part::rest) {
      const auto passed = std::min<std::uint64_t>(bytes.size(), left_);
      left_ -= passed;
      bytes = bytes.subspan(passed);
      if (left_ == 0)
        next_ = part::header;
      continue;
    }
    const auto wanted = next_ == part::magic    ? magic_bytes
                        : next_ == part::header ? header_bytes
                        : in_parts(kind_)       ? left_ // what tells stands at the end too
                                                : std::min<std::size_t>(left_, head_bytes);
    bytes = gather(bytes, wanted);
    if (head_.size() < wanted)
      break;
    std::string why;
    if (next_ == part::header) {
      why = judge_header();
    } else if (next_ == part::head) {
      left_ -= wanted;
      why = judge_head();
    } else {
      next_ = part::header;
      why = number(0, magic_bytes) == magic ? "" : "a beginning that is not UCX's";
    }
    head_.clear();
    if (!why.empty())
      return why;
  }
  return "";
}

std::size_t data_stream::promised() const {
  const bool between_frames = head_.empty() && (next_ == part::header || next_ == part::magic);
  return missing_ + (between_frames ? 0 : frame_buffer_bytes);
}

std::string data_stream::judge_header() {
  kind_ = static_cast<std::uint8_t>(number(0, 1));
  length_ = left_ = number(1, 4);
  if (std::ranges::find(known_kinds, kind_) == known_kinds.end())
    return "a frame of kind " + std::to_string(kind_) + ", which no process of a run sends";
  const auto fits = [&] {
    switch (kind_) {
    case put:
      return length_ == put_bytes;
    case put_received:
      return length_ == receipt_bytes;
    case keep_alive:
      return length_ == 0;
    case connection:
      return length_ == event_bytes || std::ranges::find(request_bytes, length_) != request_bytes.end();
    case message_goes_on:
      return length_ > part_header_bytes + part_footer_bytes && length_ <= longest_data_frame;
    case message:
    case message_begins:
    case message_to_answer:
      return length_ >= message_header_bytes + footer_bytes(kind_) && length_ <= longest_data_frame;
    default:
      return length_ <= longest_data_frame;
    }
  };
  if (!fits())
    return "a frame of kind " + std::to_string(kind_) + " and " + std::to_string(length_) + " bytes";
  if (!greeted_ && kind_ != connection)
    return "a frame of kind " + std::to_string(kind_) + " before it asked for a connection";
  greeted_ = true;
  next_ = left_ > 0 ? part::head : part::header;
  return "";
}

std::string data_stream::judge_head() {
  next_ = left_ > 0 ? part::rest : part::header;
  switch (kind_) {
  case connection: {
    const auto event = number(0, event_bytes);
    if (event == connection_asked ? length_ == event_bytes
                                  : event == 0 || event > connection_ended || length_ != event_bytes)
      return "a connection's event " + std::to_string(event) + " of " + std::to_string(length_) + " bytes";
    return "";
  }
  case put:
    left_ = number(8, 8);
    next_ = left_ > 0 ? part::rest : part::header;
    return may_write_(number(0, 8), left_) ? "" : "a put of " + std::to_string(left_) + " bytes that nobody waits for";
  case message:
  case message_begins:
  case message_to_answer: {
    const auto own = message_header_bytes + footer_bytes(kind_), header = number(4, 4);
    if (header > length_ - own)
      return "a message of " + std::to_string(length_) + " bytes with a header of " + std::to_string(header);
    return kind_ == message_begins ? judge_first_part(length_ - own - header) : "";
  }
  case message_goes_on:
    return judge_next_part(length_ - part_header_bytes - part_footer_bytes);
  default:
    return "";
  }
}

std::string data_stream::judge_first_part(std::uint64_t bytes) {
  const auto id = number(length_ - first_footer_bytes, 8), total = number(length_ - 8, 8);
  if (total > longest_message_in_parts || bytes > total)
    return "a message in parts of " + std::to_string(total) + " bytes, at most "
           + std::to_string(longest_message_in_parts);
  if (bytes == total)
    return "";
  if (messages_.size() >= most_messages_in_parts || !messages_.emplace(id, progress{total, bytes}).second)
    return "more messages in parts than a process of a run sends at once";
  missing_ += total - bytes;
  return "";
}

std::string data_stream::judge_next_part(std::uint64_t bytes) {
  const auto found = messages_.find(number(length_ - part_footer_bytes, 8));
  const auto offset = number(0, 8);
  if (found == messages_.end() || offset > found->second.total || bytes > found->second.total - offset
      || bytes > found->second.total - found->second.came)
    return "a part of " + std::to_string(bytes) + " bytes that belongs to no message";
  found->second.came += bytes;
  missing_ -= bytes;
  if (found->second.came == found->second.total)
    messages_.erase(found);
  return "";
}

} // namespace millrace::access
