#pragma once

#include <cstdint>

namespace millrace::algorithms {

/// How the coefficient of the KL follows a target; fixed where `target` is 0.
struct kl_control {
  double target = 0;      ///< wanted mean KL of a token, nats, >= 0
  double horizon = 10000; ///< answers over which an error of 20 % changes the coefficient by that much, > 0
};

/// The coefficient of the next step, from the coefficient and the KL of this step:
///
///     beta <- beta (1 + clip(KL / target - 1, -0.2, 0.2) * answers / horizon)
///
/// A KL that is not finite leaves the coefficient as it is. The coefficient never falls
/// below 0, which a step of more than 5 horizons would make it do.
/// @param answers of the step
/// @throws std::invalid_argument for a control out of range
///
/// Source: Ziegler et al. 2019, arXiv:1909.08593, section 2.2. verl, OpenRLHF: the same.
double next_kl_coefficient(double coefficient, double kl, std::int64_t answers, const kl_control& control);

} // namespace millrace::algorithms
