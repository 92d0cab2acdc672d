#pragma once

#include "runtime/words/ticket.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace millrace {

/// A group whose columns a role may read. coordinator -> any role between rollout and policy.
struct process_group {
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
  std::vector<ticket> columns = {}; ///< what roles upstream added, the source among them
};

/// Answers `process_group` with what the role adds.
struct group_columns {
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
  ticket columns = {};
  std::map<std::string, double> summary; ///< means worth a metric, e.g. "reward", "reward.number"
  std::string complaint;                 ///< not empty: the group cannot be used, and why
  double busy_s = 0;
};

} // namespace millrace
