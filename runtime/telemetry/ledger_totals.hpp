#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace millrace::telemetry {

/// Tokens by fate, as the scheduler's ledger counts them.
struct ledger_totals {
  std::int64_t generated = 0;
  std::int64_t trained = 0;
  std::int64_t live = 0;                                     ///< generating, finished, scored or in a batch
  std::vector<std::pair<std::string, std::int64_t>> dropped; ///< by reason

  std::int64_t dropped_total() const {
    std::int64_t total = 0;
    for (const auto& [reason, tokens] : dropped)
      total += tokens;
    return total;
  }

  /// generated = trained + dropped + live
  bool closes() const { return generated == trained + dropped_total() + live; }

  bool operator==(const ledger_totals&) const = default;
};

} // namespace millrace::telemetry
