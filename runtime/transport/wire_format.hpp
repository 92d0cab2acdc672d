#pragma once

#include "runtime/access/hmac.hpp"

#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace millrace::transport {

/// What data planes say to each other. Fixed size, little-endian, the header of a UCX active message.
enum class message_kind : std::uint32_t {
  greeting = 1, ///< payload: see `greeting`
  pull = 2,     ///< `ticket`, `owner`, `pull`, `argument` = bytes of the whole bundle; payload: see `write_places`;
                ///< answered by one loan, by pieces, by one refusal or by `elsewhere`
  release = 3,  ///< `ticket`
  refusal = 4,  ///< `pull`, `argument` = refusal_reason
  piece = 5,    ///< `pull`, `argument` = place of the column, or `whole_block`; payload: its bytes, not in the MAC
  knock = 6,    ///< first on a descriptor_line, by who opened it
  welcome = 7,  ///< answers it, over the line; `argument` = `sequence` of the knock
  loan = 8, ///< answers a pull, over the line, with a descriptor; `pull`, `argument` = bytes of the memory, in which
            ///< the whole bundle lies as `pack` says
  copy = 9, ///< a pull that pieces are to answer, or one refusal
  elsewhere = 10, ///< answers a pull; `pull`, `argument` = node to be asked for it
  /// Stands for a piece where bytes are encrypted; `pull`, `argument` = where its bytes lie in the block of the columns
  /// that are fetched; payload: at most `sealed_piece_bytes` of one column, encrypted with `piece_key`.
  sealed_piece = 11,
};

enum class refusal_reason : std::uint64_t {
  not_authorised = 1,
  replayed = 2,
  no_such_bundle = 3,
  other_size = 4,
  other_columns = 5,
};

inline constexpr std::uint64_t whole_block = ~std::uint64_t{0};

struct message {
  std::uint32_t magic = 0x3358524d; ///< "MRX3"
  message_kind kind{};
  std::uint64_t from = 0;
  std::uint64_t from_life = 0; ///< random, new whenever the node starts
  std::uint64_t to = 0;
  std::uint64_t to_life = 0;
  std::uint64_t sequence = 0; ///< of the sender, each number once in its life; of an answer 0, but of a sealed piece
  std::uint64_t ticket = 0;
  std::uint64_t owner = 0; ///< node that gave the ticket
  std::uint64_t pull = 0;  ///< number that the requester gave to the pull
  std::uint64_t argument = 0;
  access::mac256 mac{};
};

static_assert(sizeof(message) == 112);

/// Sets the MAC over everything before it and over `payload`.
void seal(message& m, const access::key256& key, std::span<const std::byte> payload = {});
bool sealed_with(const message& m, const access::key256& key, std::span<const std::byte> payload = {});

/// Bytes of a column that one sealed piece has; the last one of a column has the rest.
inline constexpr std::size_t sealed_piece_bytes = std::size_t{1} << 20;

/// The key that a sealed piece is encrypted with. No two pieces of a run have the same: its header says who has sent it
/// to whom, in which lives, and its sequence.
access::key256 piece_key(const message& header, const access::key256& run);

/// The message, unless `header` has another size or magic.
std::optional<message> read_message(std::span<const std::byte> header);

/// The columns that a pull wants, as its payload: a bit a column, the first one the lowest bit of the first byte. A
/// pull of every column has no payload. @param places ascending, below `columns`
std::vector<std::byte> write_places(std::span<const std::size_t> places, std::size_t columns);

/// The places that are set in the payload, ascending: all of them if it is empty.
/// @returns nothing for a payload of another number of columns
std::optional<std::vector<std::size_t>> read_places(std::span<const std::byte> payload, std::size_t columns);

/// Remembers which sequence numbers one life of one peer has used; messages may overtake each other a little.
class replay_window {
public:
  /// True the first time for a number that is not more than `reach` behind the highest.
  bool accept(std::uint64_t sequence);

  static constexpr std::uint64_t reach = 4096;

private:
  std::uint64_t highest_ = 0;
  std::bitset<reach> seen_;
};

/// How a node is reached: what data_plane::address() packs.
struct node_address {
  std::uint64_t life = 0;
  std::vector<std::byte> ucx; ///< of the worker all peers share
  std::string door;           ///< name of its descriptor_door; empty: it lends no memory
};

std::vector<std::byte> write(const node_address& address);

/// @returns nothing if a byte of it is missing, added or changed
std::optional<node_address> read_address(std::span<const std::byte> bytes);

/// How a connection starts. Both sides send one when they make theirs.
struct greeting {
  std::uint64_t connection = 0;   ///< random, new whenever the sender makes its side anew
  std::vector<std::byte> address; ///< of the sender, as `write(node_address)`
};

std::vector<std::byte> write(const greeting& g);
std::optional<greeting> read_greeting(std::span<const std::byte> bytes);

} // namespace millrace::transport
