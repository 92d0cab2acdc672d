#include "runtime/endpoint/stop_guard.hpp"

#include <algorithm>

namespace millrace::endpoint {

std::string stop_guard::push(std::int32_t token) {
  held_ += stream_.push(token);
  // A stop string that is whole has ended the answer: `finish` comes next.
  std::size_t kept = 0;
  for (const auto& stop : stops_) {
    if (const auto at = held_.find(stop); at != std::string::npos)
      kept = std::max(kept, held_.size() - at);
    for (auto begins = std::min(stop.size(), held_.size()); begins > kept; --begins)
      if (held_.ends_with(std::string_view(stop).substr(0, begins)))
        kept = begins;
  }
  auto free = held_.substr(0, held_.size() - kept);
  held_.erase(0, free.size());
  return free;
}

std::string stop_guard::finish(bool stopped) {
  auto rest = std::move(held_) + stream_.finish();
  held_.clear();
  if (stopped)
    for (const auto& stop : stops_)
      rest.resize(std::min(rest.size(), rest.find(stop)));
  return rest;
}

} // namespace millrace::endpoint
