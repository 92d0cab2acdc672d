#pragma once

#include "runtime/telemetry/metrics.hpp"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace millrace::telemetry {

/// What an evaluation found of one version.
struct evaluation_point {
  std::int64_t version = 0;
  std::map<std::string, double> figures; ///< "pass@1", "avg@4", "length/mean", "tokens", ...
};

/// Takes a row of metrics.jsonl that an evaluation wrote into the points of its role, in order of versions.
/// @returns false for any other row
bool collect_evaluation(const metric_row& row, std::map<std::string, std::vector<evaluation_point>>& by_role);

/// "version 20: avg@4 0.250, maj@4 0.300, pass@1 0.250, reward 0.310, 33 tokens an answer, 3 % cut off, 12 s"
std::string in_words(const evaluation_point& point);

/// Before and after: "avg@4 0.050 -> 0.431, ... (versions 0 -> 60; 12345 tokens sampled beside the ledger)"; "" for no
/// point.
std::string in_words(std::span<const evaluation_point> points);

} // namespace millrace::telemetry
