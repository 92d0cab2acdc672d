#include "runtime/access/actor_stream.hpp"

#include <algorithm>
#include <optional>
#include <string_view>

namespace millrace::access {
namespace {

enum operation : std::uint8_t {
  server_handshake,
  client_handshake,
  direct_message,
  routed_message,
  monitor_message,
  down_message,
  heartbeat
};

constexpr std::size_t longest_handshake = 64 << 10;
/// An error holds a message, which may hold an error, and so on: CAF reads each one deeper on its stack.
constexpr std::size_t longest_error = 16 << 10;
constexpr std::size_t longest_notice = 4 << 10;

/// What a message may hold, as CAF names it.
struct content {
  std::string_view name;
  bool nests = false; ///< it holds an error
  bool ends = false;  ///< it ends its target, if it comes from where this process has connected to: the run's end
};

constexpr std::array<content, 5> known_contents{{
    {.name = "@<>+envelope"},
    {.name = "@<>+@error", .nests = true},
    {.name = "@<>+@exit", .nests = true, .ends = true},
    {.name = "@<>+@atom+@atom+@str"}, // two systems that meet: get, info
    {.name = "@<>+@atom+@str+@strong_actor_ptr+@str"},
}};

/// Reads what CAF's serializer wrote: big endian, lengths in groups of 7 bits.
class reader {
public:
  explicit reader(std::span<const std::byte> from) : rest_(from) {}

  std::optional<std::uint64_t> number(std::size_t bytes) {
    if (rest_.size() < bytes)
      return std::nullopt;
    std::uint64_t value = 0;
    for (const auto byte : rest_.first(bytes))
      value = value << 8 | std::to_integer<std::uint64_t>(byte);
    rest_ = rest_.subspan(bytes);
    return value;
  }

  std::optional<std::size_t> length() {
    std::size_t value = 0;
    for (unsigned shift = 0; shift < 35; shift += 7) {
      const auto group = number(1);
      if (!group)
        return std::nullopt;
      value |= (*group & 0x7f) << shift;
      if ((*group & 0x80) == 0)
        return value;
    }
    return std::nullopt;
  }

  std::optional<std::string_view> text() {
    const auto bytes = length();
    if (!bytes || rest_.size() < *bytes)
      return std::nullopt;
    const std::string_view value(reinterpret_cast<const char*>(rest_.data()), *bytes);
    rest_ = rest_.subspan(*bytes);
    return value;
  }

  bool skip(std::size_t bytes) {
    if (rest_.size() < bytes)
      return false;
    rest_ = rest_.subspan(bytes);
    return true;
  }

private:
  std::span<const std::byte> rest_;
};

/// The name of a node: of none, or of the process with a number on a host.
bool skip_node(reader& in) {
  constexpr std::size_t process_and_host = 4 + 20;
  const auto kind = in.number(8);
  return kind && (*kind == 0 || in.skip(process_and_host));
}

} // namespace

std::string actor_stream::take(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    if (missing_ == 0) {
      const auto part = bytes.first(std::min(bytes.size(), header_bytes - header_got_));
      std::ranges::copy(part, header_.begin() + static_cast<std::ptrdiff_t>(header_got_));
      header_got_ += part.size();
      bytes = bytes.subspan(part.size());
      if (header_got_ < header_bytes)
        break;
      header_got_ = head_got_ = 0;
      if (auto why = judge_header(); !why.empty())
        return why;
      continue;
    }
    const auto part = bytes.first(std::min(bytes.size(), missing_));
    const auto kept = part.first(std::min(part.size(), head_bytes - head_got_));
    std::ranges::copy(kept, head_.begin() + static_cast<std::ptrdiff_t>(head_got_));
    head_got_ += kept.size();
    missing_ -= part.size();
    bytes = bytes.subspan(part.size());
    if (missing_ == 0)
      if (auto why = judge_head(); !why.empty())
        return why;
  }
  return "";
}

std::string actor_stream::judge_header() {
  reader in(header_);
  operation_ = static_cast<std::uint8_t>(*in.number(1));
  in.skip(3);
  payload_ = missing_ = *in.number(4);
  const bool greets = operation_ == server_handshake || operation_ == client_handshake;
  if (operation_ > heartbeat)
    return "a frame of kind " + std::to_string(operation_) + ", which CAF does not have";
  if (!greets && !greeted_)
    return "a frame of kind " + std::to_string(operation_) + " before a handshake";
  greeted_ = true;
  const auto longest = greets                          ? longest_handshake
                       : operation_ == heartbeat       ? 0
                       : operation_ == monitor_message ? longest_notice
                       : operation_ == down_message    ? longest_error
                                                       : longest_message;
  if (payload_ > longest)
    return "a frame of kind " + std::to_string(operation_) + " and " + std::to_string(payload_) + " bytes, at most "
           + std::to_string(longest);
  return "";
}

std::string actor_stream::judge_head() const {
  if (operation_ != direct_message && operation_ != routed_message)
    return "";
  reader in(std::span<const std::byte>(head_).first(head_got_));
  const bool placed = operation_ == direct_message || (skip_node(in) && skip_node(in));
  if (!placed || in.length() != 0u || in.number(2) != 0u)
    return "a message that is not laid out as CAF's";
  const auto name = in.text();
  const auto found = std::ranges::find_if(known_contents, [&](const content& one) { return name == one.name; });
  if (found == known_contents.end() || (found->ends && accepted_))
    return "a message of a type that no process of a run sends here";
  if (found->nests && payload_ > longest_error)
    return "an error of " + std::to_string(payload_) + " bytes, at most " + std::to_string(longest_error);
  return "";
}

} // namespace millrace::access
