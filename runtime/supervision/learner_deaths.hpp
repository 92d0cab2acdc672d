#pragma once

#include <compare>
#include <cstdint>

namespace millrace::supervision {

/// How far a run has come.
struct run_place {
  std::uint64_t step = 0; ///< trained
  std::uint64_t part = 0; ///< updates trained of the step after it

  auto operator<=>(const run_place&) const = default;
};

/// Deaths of processes whose state only a checkpoint has: of policies, of critics, of references that follow a policy.
/// After each of them the run goes on from its last checkpoint. A run that comes no further between two deaths counts
/// them together, whatever it trains again. It uses no clock and no process.
class learner_deaths {
public:
  static constexpr int most = 3; ///< together: then the run ends

  /// One died when the run had come to `at`. @returns how many count together, 1 or more
  int died(const run_place& at);

private:
  run_place furthest_;
  int together_ = 0;
};

} // namespace millrace::supervision
