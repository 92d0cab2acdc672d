#pragma once

#include <cstdint>
#include <vector>

namespace millrace::train {

/// One prompt and its scored answers. Inner vectors have one entry per answer, then one per token of it.
struct training_group {
  std::uint64_t id = 0;
  std::vector<std::int32_t> prompt;                  ///< at least one token
  std::vector<std::vector<std::int32_t>> answers;
  std::vector<std::vector<float>> behaviour_logprob; ///< as stamped by the rollout
  std::vector<std::vector<std::uint32_t>> version;   ///< policy version that sampled the token
  std::vector<float> reward;                         ///< one per answer
  std::vector<std::vector<float>> ref_logprob;       ///< empty without a reference
  std::vector<std::vector<float>> value;             ///< the critic's value before each token; empty without a critic
  std::vector<float> baseline;                       ///< reward of the greedy answer to the prompt, one per answer; or empty
};

} // namespace millrace::train
