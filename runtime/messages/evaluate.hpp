#pragma once

#include "runtime/words/ids.hpp"
#include "runtime/words/role_instance.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace millrace {

/// Ask the held-out prompts of this version, whose weights the role has taken. coordinator -> evaluation.
struct evaluate_version {
  version_id version = 0;
};

/// Answers `evaluate_version`.
struct version_evaluated {
  version_id version = 0;
  std::map<std::string, double> figures; ///< "pass@4", "gsm8k/pass@4", ...: see `evaluation_tally`
  std::int64_t tokens = 0;               ///< sampled; the run's ledger does not know them
  double seconds = 0;
  std::vector<std::string> answers = {}; ///< of the first `answers_kept` prompts: see `roles::answers_line`
};

/// How far an evaluation is, about once a second. evaluation -> coordinator.
struct evaluation_progress {
  role_instance who;
  version_id version = 0;
  std::uint64_t done = 0; ///< rows
  std::uint64_t rows = 0;
};

} // namespace millrace
