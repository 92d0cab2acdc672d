#pragma once

#include "algorithms/algorithm.hpp"

#include <ATen/core/Tensor.h>

#include <array>
#include <string_view>

namespace millrace::algorithms {

/// The policy that a surrogate's ratio and the corrections' weights are taken against.
enum class proximal {
  recomputed, ///< the policy at the start of the step; a step of several updates runs a forward pass for it
  log_linear, ///< between behaviour and current policy, by the versions of the tokens: no forward pass
  behaviour,  ///< the policy that sampled the token; corrections then find nothing to correct
};

inline constexpr std::array<std::string_view, 3> proximal_words{"recomputed", "log_linear", "behaviour"};

/// @throws std::invalid_argument for another word
proximal proximal_named(std::string_view name);

/// Log-probabilities under the proximal policy:
///
///     recomputed: old        behaviour: behaviour
///     log_linear: behaviour + a (logprob - behaviour),  a = clamp((n - 1 - v) / (n - v), 0, 1), 0 where v >= n
///
/// for a token sampled by version v and a step that trains version n.
///
/// @returns [N] detached, finite where its parts are
/// @throws c10::Error naming the column that is missing
///
/// Source: Hilton et al. 2021, Batch size-invariance for policy optimization, arXiv:2110.00641 (decoupled objective);
/// AReaL areal/trainer/ppo/actor.py::compute_prox_logp_approximations (log-linear, its proximal version n - 1).
at::Tensor anchor(proximal how, const answer_columns& answers);

} // namespace millrace::algorithms
