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

/// What a mean is made of.
struct summed {
  double sum = 0;
  std::int64_t count = 0;

  bool operator==(const summed&) const = default;
};

/// How scoring a group's answers went. A role that scores nothing leaves it as it is.
struct scoring_outcome {
  std::int64_t answers = 0;
  std::int64_t lost = 0; ///< of them: without a score, or in a group that is dropped for others without one
  std::map<std::string, std::int64_t> failures = {}; ///< of them: failed, by the word of its `failure_kind`
  std::string first = {};                            ///< why the first one has no score; "" = all have one

  bool operator==(const scoring_outcome&) const = default;
};

/// Answers `process_group` with what the role adds.
struct group_columns {
  std::uint64_t group = 0;
  std::uint32_t attempt = 0;
  ticket columns = {};
  std::map<std::string, summed> summary; ///< over its answers, worth a metric: "reward", "reward.number"
  std::string complaint;                 ///< not empty: the group cannot be used, and why
  scoring_outcome scores = {};
  double busy_s = 0;
};

} // namespace millrace
