#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace millrace::access {

/// How two workers of UCX 1.13.1 move a message that is too large to be sent at once, where their only transport is
/// TCP: the sender offers it, the receiver demands it, and the sender sends it in fragments. A receiver that does not
/// want it refuses it.
///
/// UCX believes what stands there: it sends from behind the message's end if it is asked for other bytes than it has
/// (`ucp_rndv_send_start_put_pipeline`, src/ucp/rndv/rndv.c), ends the process for a key of memory that it cannot
/// unpack
/// (`ucp_rndv_rtr_handler`), reads keys behind the frame's end (`ucp_ep_rkey_unpack_internal`,
/// src/ucp/core/ucp_rkey.c), and looks a message's handler up behind the end of its table (`ucp_am_rndv_process_rts`,
/// src/ucp/core/ucp_am.c). How many bytes an offer may announce is no matter of UCX, which makes no room for them: a
/// data plane compares them with the ticket before it demands them.

/// The only handler of active messages that a data plane has, and that each of its messages names.
inline constexpr std::uint64_t data_message_handler = 1;

/// Of a message: where its answer goes is told.
inline constexpr std::uint64_t data_message_flags = 1;

/// "I have bytes for you."
struct offer_frame {
  std::uint64_t endpoint = 0; ///< the receiver's
  std::uint64_t request = 0;  ///< the sender's
  std::uint64_t bytes = 0;
};

/// "Send them."
struct demand_frame {
  std::uint64_t offered = 0; ///< the sender's request
  std::uint64_t request = 0; ///< the receiver's
  std::uint64_t bytes = 0;
};

/// "I do not want them."
struct refusal_frame {
  std::uint64_t request = 0; ///< the sender's
};

/// Before the bytes of a fragment stand the receiver's request and their place in the message.
inline constexpr std::size_t fragment_head_bytes = 16;

/// These three say why no process of a run sends such a frame; empty: it is in `to`.
std::string read_offer(std::span<const std::byte> content, offer_frame& to);
std::string read_demand(std::span<const std::byte> content, demand_frame& to);
std::string read_refusal(std::span<const std::byte> content, refusal_frame& to);

} // namespace millrace::access
