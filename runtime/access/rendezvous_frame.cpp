#include "runtime/access/rendezvous_frame.hpp"

#include "runtime/access/packed_words.hpp"
#include "runtime/access/wireup_frame.hpp"

namespace millrace::access {
namespace {

constexpr std::uint64_t active_message = 1; // UCP_RNDV_RTS_AM
constexpr std::uint64_t in_host_memory = 0; // UCS_MEMORY_TYPE_HOST

std::string of_bytes(const char* what, std::size_t bytes) {
  return std::string(what) + " of " + std::to_string(bytes) + " bytes";
}

/// The key of memory behind an offer or a demand. Where TCP is the only transport, no domain of memory has one.
std::string read_key(packed_words& words) {
  const auto domains = words.number(8), memory = words.number(1);
  return domains == 0 && memory == in_host_memory
             ? ""
             : "a key of domains " + std::to_string(domains) + " and memory " + std::to_string(memory);
}

} // namespace

std::string read_offer(std::span<const std::byte> content, offer_frame& to) {
  packed_words words(content);
  const auto handler = words.number(2), flags = words.number(2), header = words.number(4);
  to.endpoint = words.number(8);
  to.request = words.number(8);
  words.number(8); // where the bytes lie there: nobody here reads from afar
  to.bytes = words.number(8);
  const auto protocol = words.number(1);
  const auto why = read_key(words);
  words.take(header);
  if (!words.whole())
    return of_bytes("an offer", content.size()) + " with a header of " + std::to_string(header);
  if (handler != data_message_handler || flags != data_message_flags || protocol != active_message)
    return "an offer for handler " + std::to_string(handler) + ", flags " + std::to_string(flags) + ", protocol "
           + std::to_string(protocol);
  if (!why.empty())
    return "an offer with " + why;
  if (!is_given_number(to.request) || to.bytes == 0)
    return of_bytes("an offer", to.bytes) + " by request " + std::to_string(to.request);
  return "";
}

std::string read_demand(std::span<const std::byte> content, demand_frame& to) {
  packed_words words(content);
  to.offered = words.number(8);
  to.request = words.number(8);
  const auto address = words.number(8);
  to.bytes = words.number(8);
  const auto offset = words.number(8);
  const auto why = read_key(words);
  if (!words.whole())
    return of_bytes("a demand", content.size());
  if (!why.empty())
    return "a demand with " + why;
  if (offset != 0 || address == 0 || to.bytes == 0)
    return of_bytes("a demand", to.bytes) + " from " + std::to_string(offset) + " on, to " + std::to_string(address);
  if (!is_given_number(to.request))
    return "a demand by request " + std::to_string(to.request);
  return "";
}

std::string read_refusal(std::span<const std::byte> content, refusal_frame& to) {
  packed_words words(content);
  to.request = words.number(8);
  const auto status = static_cast<std::int8_t>(words.number(1));
  words.number(8); // its bytes
  if (!words.whole())
    return of_bytes("a refusal", content.size());
  return status <= 0 ? "" : "a refusal with status " + std::to_string(status);
}

} // namespace millrace::access
