#include "runtime/transport/fan_out.hpp"

#include <algorithm>

namespace millrace::transport {

std::optional<std::uint64_t> fan_out::giver_for(reader who, const std::string& host) {
  if (std::ranges::any_of(entries_, [&](const entry& e) { return e.who == who; }))
    return std::nullopt;
  const auto neighbour = std::ranges::find_if(entries_, [&](const entry& e) { return e.first && e.host == host; });
  if (neighbour != entries_.end()) {
    const auto giver = neighbour->who.first;
    entries_.push_back({.who = who, .host = host});
    return giver;
  }
  const auto of_owner = std::ranges::count_if(entries_, [](const entry& e) { return e.of_owner; });
  const auto free = std::ranges::find_if(entries_, [](const entry& e) { return e.first && e.readers < copies; });
  if (static_cast<std::size_t>(of_owner) < copies || free == entries_.end()) {
    entries_.push_back({.who = who, .host = host, .first = true, .of_owner = true});
    return std::nullopt;
  }
  ++free->readers;
  const auto giver = free->who.first;
  entries_.push_back({.who = who, .host = host, .first = true});
  return giver;
}

void fan_out::lost(reader who) {
  std::erase_if(entries_, [&](const entry& e) { return e.who == who; });
}

} // namespace millrace::transport
