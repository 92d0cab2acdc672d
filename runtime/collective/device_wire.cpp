#include "runtime/collective/device_wire.hpp"

#include <map>
#include <utility>

namespace millrace::collective {

std::string why_not_direct(std::span<const device_facts> ranks) {
  std::map<std::string, std::size_t> owners;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const auto& facts = ranks[rank];
    const std::string who = "rank " + std::to_string(rank);
    if (facts.gpu.empty())
      return who + " computes on " + facts.device;
    if (facts.library.empty())
      return who + " has no NCCL";
    if (facts.library != ranks[0].library)
      return who + " has " + facts.library + " and rank 0 has " + ranks[0].library;
    if (const auto [owner, first] = owners.emplace(facts.gpu, rank); !first)
      return who + " and rank " + std::to_string(owner->second) + " share one GPU";
  }
  return "";
}

} // namespace millrace::collective
