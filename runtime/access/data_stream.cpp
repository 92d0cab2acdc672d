#include "runtime/access/data_stream.hpp"

#include "runtime/access/packed_words.hpp"
#include "runtime/access/rendezvous_frame.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace millrace::access {
namespace {

constexpr std::uint64_t magic = 0xCAFEBABE12345678;

/// Those of active messages and their rendezvous; UCX has others, which read and write this process's memory.
constexpr std::array<std::uint8_t, 14> known_kinds{
    wireup,         ready_to_send,   fetched,           ready_to_receive, fragment, put_ended,    message,
    message_begins, message_goes_on, message_to_answer, connection,       put,      put_received, keep_alive};

constexpr std::size_t part_header_bytes = 8, part_footer_bytes = 16, first_footer_bytes = 24, reply_footer_bytes = 8;
/// UCX holds one from a frame's first byte to its last.
constexpr std::size_t frame_buffer_bytes = 2 * longest_data_frame;
constexpr std::uint64_t longest_message_in_parts = 16 << 20;
constexpr std::size_t most_messages_in_parts = 64;
constexpr std::size_t message_header_bytes = 8, receipt_bytes = 4, event_bytes = 4;
/// Of frames that are read whole. An offer holds the header of its message too.
constexpr std::size_t longest_control_frame = 8 << 10;
constexpr std::uint64_t connection_asked = 1, connection_ended = 4;
/// An event, flags, an id, and the address of a socket: IPv4 or IPv6.
constexpr std::array<std::uint64_t, 2> request_bytes{13 + 16, 13 + 28};

/// What UCX puts behind a message: where to answer, and of one in parts also which message it is, and its size.
std::size_t footer_bytes(std::uint8_t kind) {
  switch (kind) {
  case message_to_answer:
    return reply_footer_bytes;
  case message_begins:
    return first_footer_bytes;
  case message_goes_on:
    return part_footer_bytes;
  default:
    return 0;
  }
}

bool is_message(std::uint8_t kind) {
  return kind == message || kind == message_begins || kind == message_goes_on || kind == message_to_answer;
}

} // namespace

std::uint64_t data_stream::cursor::number(std::size_t at, std::size_t bytes) const {
  packed_words words(seen);
  words.take(at);
  return words.number(bytes);
}

void data_stream::cursor::begin_frame() {
  kind = static_cast<std::uint8_t>(number(0, 1));
  length = left = number(1, 4);
  next = length > 0 ? part::head : part::header;
}

data_stream::data_stream(bool accepted, room_test may_write, std::unique_ptr<frame_judge> inside)
    : may_write_(std::move(may_write)), inside_(std::move(inside)), greeted_(!accepted) {
  (accepted ? in_ : out_).next = part::magic;
}

std::string data_stream::take(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (in_.next == part::rest) {
      const auto before = in_.left;
      in_.skip(bytes);
      put_at_ += before - in_.left;
      if (in_.left == 0)
        in_.next = is_message(in_.kind) && footer_bytes(in_.kind) > 0 ? part::foot : part::header;
      continue;
    }
    if (!in_.gather(bytes, wanted()))
      break;
    const auto why = judge_part();
    in_.seen.clear();
    if (!why.empty())
      return why;
  }
  return "";
}

std::size_t data_stream::wanted() const {
  switch (in_.next) {
  case part::magic:
    return magic_bytes;
  case part::header:
    return header_bytes;
  case part::foot:
    return footer_bytes(in_.kind);
  default:
    return in_.kind == put          ? put_bytes
           : is_message(in_.kind)   ? message_header_bytes
           : in_.kind == fragment   ? fragment_head_bytes
           : inside_                ? in_.length
           : in_.kind == connection ? event_bytes
                                    : std::size_t{1};
  }
}

std::string data_stream::judge_part() {
  switch (in_.next) {
  case part::magic:
    in_.next = part::header;
    return in_.number(0, magic_bytes) == magic ? "" : "a beginning that is not UCX's";
  case part::header:
    return judge_header();
  case part::foot:
    in_.next = part::header;
    return judge_foot();
  default:
    in_.left -= in_.seen.size();
    return judge_head();
  }
}

std::size_t data_stream::promised() const {
  const bool between_frames = in_.seen.empty() && (in_.next == part::header || in_.next == part::magic);
  return missing_ + (between_frames ? 0 : frame_buffer_bytes);
}

std::string data_stream::may_read() const {
  if (in_.kind != put || in_.next != part::rest)
    return "";
  return may_write_(put_at_, in_.left) ? ""
                                       : "a put of " + std::to_string(in_.left) + " more bytes that nobody waits for";
}

std::string data_stream::judge_header() {
  in_.begin_frame();
  const auto kind = in_.kind;
  if (std::ranges::find(known_kinds, kind) == known_kinds.end() || (inside_ && !is_sent_over_tcp(kind)))
    return "a frame of kind " + std::to_string(kind) + ", which no process of a run sends";
  if (!length_fits())
    return "a frame of kind " + std::to_string(kind) + " and " + std::to_string(in_.length) + " bytes";
  if (!greeted_ && kind != connection)
    return "a frame of kind " + std::to_string(kind) + " before it asked for a connection";
  greeted_ = true;
  return "";
}

bool data_stream::length_fits() const {
  const auto length = in_.length;
  switch (in_.kind) {
  case put:
    return length == put_bytes;
  case put_received:
    return length == receipt_bytes;
  case keep_alive:
    return length == 0;
  case connection:
    return length == event_bytes || std::ranges::find(request_bytes, length) != request_bytes.end();
  case fragment:
    return length > fragment_head_bytes && length <= longest_data_frame;
  case message_goes_on:
    return length > part_header_bytes + part_footer_bytes && length <= longest_data_frame;
  case message:
  case message_begins:
  case message_to_answer:
    return length >= message_header_bytes + footer_bytes(in_.kind) && length <= longest_data_frame;
  default:
    return length > 0 && length <= (inside_ ? longest_control_frame : longest_data_frame);
  }
}

std::string data_stream::judge_head() {
  in_.next = in_.left > 0 ? part::rest : part::header;
  if (is_message(in_.kind))
    return judge_message_head();
  switch (in_.kind) {
  case connection: {
    const auto event = in_.number(0, event_bytes);
    if (event == connection_asked ? in_.length == event_bytes
                                  : event == 0 || event > connection_ended || in_.length != event_bytes)
      return "a connection's event " + std::to_string(event) + " of " + std::to_string(in_.length) + " bytes";
    break;
  }
  case put:
    return judge_put();
  case fragment:
    return inside_ ? inside_->judge_fragment(in_.number(0, 8), in_.number(8, 8), in_.left) : "";
  default:
    break;
  }
  return inside_ ? inside_->judge(in_.kind, in_.seen) : "";
}

std::string data_stream::judge_message_head() {
  const auto foot = footer_bytes(in_.kind);
  in_.left -= foot;
  in_.next = in_.left > 0 ? part::rest : foot > 0 ? part::foot : part::header;
  if (in_.kind == message_goes_on) {
    part_offset_ = in_.number(0, 8);
    part_bytes_ = in_.left;
    return "";
  }
  const auto header = in_.number(4, 4);
  if (header > in_.left)
    return "a message of " + std::to_string(in_.length) + " bytes with a header of " + std::to_string(header);
  part_bytes_ = in_.left - header;
  return inside_ ? inside_->judge_handler(in_.number(0, 2), in_.number(2, 2)) : "";
}

std::string data_stream::judge_foot() {
  const bool alone = in_.kind == message_to_answer;
  const auto id = alone ? 0 : in_.number(0, 8), endpoint = in_.number(alone ? 0 : 8, 8);
  if (auto why = inside_ ? inside_->judge_message(endpoint) : std::string(); !why.empty() || alone)
    return why;
  return in_.kind == message_begins ? judge_first_part(endpoint, id, in_.number(16, 8)) : judge_next_part(endpoint, id);
}

std::string data_stream::judge_put() {
  put_at_ = in_.number(0, 8);
  in_.left = in_.number(8, 8);
  in_.next = in_.left > 0 ? part::rest : part::header;
  return may_write_(put_at_, in_.left) ? "" : "a put of " + std::to_string(in_.left) + " bytes that nobody waits for";
}

std::string data_stream::judge_first_part(std::uint64_t endpoint, std::uint64_t id, std::uint64_t total) {
  const auto bytes = part_bytes_;
  if (total > longest_message_in_parts || bytes > total)
    return "a message in parts of " + std::to_string(total) + " bytes, at most "
           + std::to_string(longest_message_in_parts);
  if (bytes == total)
    return "";
  if (messages_.size() >= most_messages_in_parts
      || !messages_.emplace(std::pair(endpoint, id), progress{total, bytes}).second)
    return "more messages in parts than a process of a run sends at once";
  missing_ += total - bytes;
  return "";
}

std::string data_stream::judge_next_part(std::uint64_t endpoint, std::uint64_t id) {
  const auto found = messages_.find({endpoint, id});
  const auto bytes = part_bytes_, offset = part_offset_;
  if (found == messages_.end() || offset > found->second.total || bytes > found->second.total - offset
      || bytes > found->second.total - found->second.came)
    return "a part of " + std::to_string(bytes) + " bytes that belongs to no message";
  found->second.came += bytes;
  missing_ -= bytes;
  if (found->second.came == found->second.total)
    messages_.erase(found);
  return "";
}

// ---- what this process sends ----------------------------------------------------------------------------------------

void data_stream::told(std::span<const std::byte> bytes) {
  while (inside_ && !bytes.empty()) {
    if (out_.next == part::rest) {
      out_.skip(bytes);
      if (out_.left == 0)
        out_.next = part::header;
      continue;
    }
    const auto want = out_.next == part::magic    ? magic_bytes
                      : out_.next == part::header ? header_bytes
                                                  : std::min<std::size_t>(out_.length, frame_judge::told_bytes);
    if (!out_.gather(bytes, want))
      break;
    if (out_.next == part::magic) {
      out_.next = part::header;
    } else if (out_.next == part::header) {
      out_.begin_frame();
    } else {
      out_.left -= want;
      out_.next = out_.left > 0 ? part::rest : part::header;
      inside_->told(out_.kind, out_.seen);
    }
    out_.seen.clear();
  }
}

} // namespace millrace::access
