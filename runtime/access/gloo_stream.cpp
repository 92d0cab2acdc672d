#include "runtime/access/gloo_stream.hpp"

#include "runtime/access/packed_words.hpp"

namespace millrace::access {
namespace {

constexpr std::uint64_t tensor = 1, will_send = 2, waits = 3;

/// Announcements of one slot that are not settled yet. A rank has two at most: one exchange ends while the next begins.
constexpr unsigned most_announcements = 16;

/// What the kernel may hold for a connection over which nothing has been said.
constexpr std::size_t silent_bytes = 128 << 10;

struct preamble {
  std::uint64_t bytes, kind, slot, offset, length, remote_offset;
};

preamble read_preamble(std::span<const std::byte> seen) {
  packed_words words(seen);
  return {.bytes = words.number(8),
          .kind = words.number(8),
          .slot = words.number(8),
          .offset = words.number(8),
          .length = words.number(8),
          .remote_offset = words.number(8)};
}

} // namespace

bool gloo_stream::cursor::go_on(std::span<const std::byte>& bytes) {
  if (left == 0)
    return gather(bytes, preamble_bytes);
  skip(bytes);
  return false;
}

std::string gloo_stream::take(std::span<const std::byte> bytes) {
  while (!bytes.empty())
    if (in_.go_on(bytes)) {
      auto why = judge();
      in_.seen.clear();
      if (!why.empty())
        return why;
      silent_ = false;
    }
  return "";
}

std::size_t gloo_stream::promised() const {
  return silent_ ? silent_bytes : 0;
}

std::string gloo_stream::judge() {
  const auto said = read_preamble(in_.seen);
  if (said.kind != tensor && said.kind != will_send && said.kind != waits)
    return "an operation of kind " + std::to_string(said.kind) + ", which no rank sends";
  if (said.slot >= rank_slots || said.offset != 0 || said.remote_offset != 0)
    return "an operation for slot " + std::to_string(said.slot) + ", offsets " + std::to_string(said.offset) + " and "
           + std::to_string(said.remote_offset);
  auto& of = slots_[said.slot];
  if (said.kind == tensor)
    return judge_tensor(said.bytes, said.length, of);
  if (said.bytes != preamble_bytes)
    return "an announcement of " + std::to_string(said.bytes) + " bytes";
  auto& announcements = said.kind == will_send ? of.announced : of.waited_for;
  return ++announcements <= most_announcements ? "" : "more announcements than a rank makes at once";
}

std::string gloo_stream::judge_tensor(std::uint64_t bytes, std::uint64_t length, slot& of) {
  if (bytes < preamble_bytes || bytes - preamble_bytes != length)
    return "a tensor of " + std::to_string(length) + " bytes in an operation of " + std::to_string(bytes);
  if (of.announced == 0)
    return "a tensor of " + std::to_string(length) + " bytes that was not announced";
  if (of.waits.empty() || of.waits.front() != length)
    return "a tensor of " + std::to_string(length) + " bytes, where "
           + (of.waits.empty() ? "nobody waits" : std::to_string(of.waits.front()) + " are waited for");
  of.waits.pop_front();
  --of.announced;
  in_.left = length;
  return "";
}

void gloo_stream::told(std::span<const std::byte> bytes) {
  while (!bytes.empty())
    if (out_.go_on(bytes)) {
      const auto said = read_preamble(out_.seen);
      out_.seen.clear();
      if (said.kind == tensor)
        out_.left = said.length;
      if (said.slot >= rank_slots)
        continue;
      auto& of = slots_[said.slot];
      if (said.kind == waits)
        of.waits.push_back(said.length);
      else if (said.kind == tensor && of.waited_for > 0)
        --of.waited_for;
    }
}

} // namespace millrace::access
