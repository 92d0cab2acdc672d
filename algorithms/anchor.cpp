#include "algorithms/anchor.hpp"

#include <ATen/ATen.h>

#include <stdexcept>
#include <string>

namespace millrace::algorithms {

proximal proximal_named(std::string_view name) {
  for (std::size_t i = 0; i < proximal_words.size(); ++i)
    if (proximal_words[i] == name)
      return static_cast<proximal>(i);
  throw std::invalid_argument("proximal '" + std::string(name)
                              + "': unknown, want recomputed, log_linear or behaviour");
}

at::Tensor anchor(proximal how, const answer_columns& answers) {
  if (how == proximal::recomputed) {
    TORCH_CHECK(answers.old_logprob.defined(), "old_logprob: missing, and the recomputed proximal policy needs it");
    return answers.old_logprob.detach();
  }
  TORCH_CHECK(answers.behaviour_logprob.defined(), "behaviour_logprob: missing, and the proximal policy is made of it");
  const at::Tensor behaviour = answers.behaviour_logprob.detach();
  if (how == proximal::behaviour)
    return behaviour;
  TORCH_CHECK(answers.version.defined(), "version: missing, and the log-linear proximal policy needs it");
  const at::Tensor age = answers.policy_version - answers.version;
  const at::Tensor share = ((age - 1).to(behaviour.scalar_type()) / age.clamp_min(1)).clamp(0, 1);
  return behaviour + share * (answers.logprob.detach() - behaviour);
}

} // namespace millrace::algorithms
