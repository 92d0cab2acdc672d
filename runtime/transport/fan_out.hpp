#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace millrace::transport {

/// Who gives one bundle to whom, so that its owner sends few copies over the network: a tree. The first reader of a
/// host gets a copy, from the owner or from the first reader of another host, each of which sends two; the others of
/// the host ask that first reader.
class fan_out {
public:
  using reader = std::pair<std::uint64_t, std::uint64_t>; ///< node and life

  static constexpr std::size_t copies = 2; ///< that each sends over the network

  /// Whom `who` is to ask: always one that has asked before. Who asks again gets its copy from the owner.
  /// @returns nothing for the owner itself
  std::optional<std::uint64_t> giver_for(reader who, const std::string& host);

  /// Nobody is sent there any more.
  void lost(reader who);

private:
  struct entry {
    reader who;
    std::string host;
    bool first = false;      ///< of its host
    bool of_owner = false;   ///< it has its copy from the owner
    std::size_t readers = 0; ///< on other hosts that were sent to it
  };

  std::vector<entry> entries_; ///< as they came
};

} // namespace millrace::transport
