#pragma once

#include "runtime/model/model_config.hpp"
#include "runtime/rollout/sampling.hpp"

namespace millrace::roles {

/// How a role that samples draws its answers.
/// @tparam Table of the role, with the sampling keys of a rollout
template <class Table>
rollout::sampling sampling_of(const Table& table, const model::model_config& config) {
  rollout::sampling how;
  how.temperature = table.temperature;
  how.top_k = static_cast<int>(table.top_k);
  how.top_p = table.top_p;
  how.min_p = table.min_p;
  how.stop = table.stop;
  how.end_tokens = config.eos_ids;
  how.max_new_tokens = table.max_new_tokens;
  if constexpr (requires { table.max_turn_tokens; })
    how.max_turn_tokens = table.max_turn_tokens;
  return how;
}

} // namespace millrace::roles
