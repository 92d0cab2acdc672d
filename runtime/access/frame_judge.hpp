#pragma once

#include "runtime/access/data_ledger.hpp"

#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace millrace::access {

/// Kinds of frames of UCX's TCP that processes of a run send.
enum data_kind : std::uint8_t {
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

/// Whether a data plane whose only transport is TCP, with UCX 1.13.1, sends frames of that kind.
bool is_sent_over_tcp(std::uint8_t kind);

/// What stands inside the frames of one connection of a data plane: judged against the format of UCX 1.13.1, and
/// against what this process has told its peers (`data_ledger`). It knows that from the frames that go out.
///
/// The functions that judge say why the connection must end, in a few words; empty: it may go on. For one thread.
class frame_judge {
public:
  /// One end of a connection.
  struct ends {
    bool accepted = false; ///< the other side has connected
    sockaddr_storage own{};
    sockaddr_storage other{}; ///< matters where this process has connected
  };

  frame_judge(std::shared_ptr<data_ledger> ledger, const ends& about);
  ~frame_judge();
  frame_judge(const frame_judge&) = delete;
  frame_judge& operator=(const frame_judge&) = delete;

  /// The whole content of a frame, of a kind other than messages and fragments.
  std::string judge(std::uint8_t kind, std::span<const std::byte> content);

  /// A message or a part of it. @param endpoint where it goes
  std::string judge_message(std::uint64_t endpoint);

  /// The first 8 bytes of a message or of its first part.
  std::string judge_handler(std::uint64_t handler, std::uint64_t flags) const;

  /// The first bytes of a fragment. @param bytes of the message in it
  std::string judge_fragment(std::uint64_t request, std::uint64_t offset, std::uint64_t bytes);

  /// How many bytes of a frame that goes out `told` wants to see.
  static constexpr std::size_t told_bytes = 48;

  /// This process has sent a frame of that kind. @param content its first `told_bytes` bytes, or all
  void told(std::uint8_t kind, std::span<const std::byte> content);

private:
  /// Where the other side listens.
  struct place {
    std::vector<std::byte> address;
    std::uint16_t port = 0;
  };

  static place place_of(const sockaddr_storage& where);
  std::string judge_event(std::span<const std::byte> content);
  std::string judge_request(std::span<const std::byte> content);
  std::string judge_wireup(std::span<const std::byte> content);
  std::string judge_demand(std::span<const std::byte> content);

  std::shared_ptr<data_ledger> ledger_;
  bool accepted_;
  sa_family_t family_;
  std::optional<place> other_;
  bool said_request_ = false, heard_request_ = false, heard_answer_ = false, heard_end_ = false;
  bool asked_ = false, answered_ = false; ///< by wireup messages
};

} // namespace millrace::access
