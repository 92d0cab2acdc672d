#pragma once

#include "runtime/telemetry/evaluation_point.hpp"
#include "runtime/telemetry/ledger_totals.hpp"
#include "runtime/telemetry/time_table.hpp"

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace millrace::telemetry {

/// The figures that a run shows at its end.
struct run_summary {
  std::string name;
  std::string outcome = "finished"; ///< finished, stopped, failed
  std::int64_t step = 0;
  std::int64_t steps = 0;
  double elapsed_s = 0;
  std::vector<double> rewards; ///< mean reward of each step, from step 1; NaN where it is not known
  std::vector<std::pair<std::string, std::vector<evaluation_point>>> evaluations; ///< by role
  ledger_totals ledger;
  std::vector<role_time> times;
  double logprob_gap = 0; ///< max |rollout - learner| over tokens of the same weights, nats; NaN: not measured
  std::vector<std::pair<std::string, std::int64_t>> skipped; ///< rows left out, by reason
  std::filesystem::path folder;
  std::filesystem::path last_checkpoint; ///< "" if there is none
  std::filesystem::path best_checkpoint; ///< "" if none is kept
  std::filesystem::path trained_model;   ///< what `millrace generate` reads; "" if there is none
  std::string example_prompt;            ///< shown in the command that tries it
};

/// The summary in words: reward curve, tokens by fate, time by role and cause, files, what to try next.
std::string in_words(const run_summary& summary);

/// The time table in words, one line a role.
std::string in_words(std::span<const role_time> times);

} // namespace millrace::telemetry
