#pragma once

#include "runtime/model/segments.hpp"

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace millrace::train {

/// Neighbouring tokens of one answer that one policy version sampled.
struct version_run {
  std::uint32_t version = 0;
  std::uint32_t tokens = 0;
  bool recomputed = false; ///< keys and values of everything before were computed anew by this version

  bool operator==(const version_run&) const = default;
};

/// What a column was computed with that is not the group's own.
struct column_origin {
  std::uint32_t version = 0; ///< of the weights, as their role counts them
  std::uint32_t threads = 0; ///< sums may depend on them

  bool operator==(const column_origin&) const = default;
};

/// A turn of an episode, as the policy wrote it.
struct written_turn {
  std::int64_t tokens = 0; ///< that were sampled
  double reward = 0;       ///< that the environment gave for it

  bool operator==(const written_turn&) const = default;
};

/// What an environment said to the turns of an answer.
struct played_answer {
  std::vector<std::vector<std::int32_t>> said; ///< to each turn, tokens; none to the last
  std::vector<float> rewards;                  ///< for each turn
  std::vector<std::int32_t> segments = {};     ///< turns whose reply begins a segment, ascending
  std::uint8_t finish = 0;                     ///< `rollout::finish_reason` of the answer

  bool operator==(const played_answer&) const = default;
};

/// One prompt and its scored answers. Inner vectors have one entry per answer, then one per token of it.
struct training_group {
  std::uint64_t id = 0;
  std::vector<std::int32_t> prompt; ///< at least one token
  std::vector<std::vector<std::int32_t>> answers;
  model::segment_begins segments = {};               ///< of the answers; empty: each is one
  std::vector<std::vector<std::uint8_t>> mask;       ///< 0: fed, and has no part in anything else; empty: 1 everywhere
  std::vector<std::vector<float>> behaviour_logprob; ///< as stamped by the rollout
  std::vector<std::vector<std::uint32_t>> version;   ///< policy version that sampled the token
  std::vector<float> reward;                         ///< one per answer
  std::vector<std::vector<float>> parts; ///< what `mix_rewards` makes `reward` of, one number an answer each; or empty
  std::vector<std::vector<float>> ref_logprob; ///< empty without a reference
  std::vector<std::vector<float>> value;       ///< the critic's value before each token; empty without a critic
  /// 0: too old to be trained, has its part in everything but the loss; empty: 1 everywhere.
  std::vector<std::vector<std::uint8_t>> trains;
  std::string domain;             ///< subject of the prompt; "" where nobody says
  std::int64_t masked_tokens = 0; ///< of answers that were emptied: they count in the group, not in the loss
  /// Every answer as the rollout made it, those that were emptied or are only a baseline too.
  std::vector<std::vector<version_run>> sampled;
  std::vector<std::uint32_t> kept; ///< of each answer its index among those that the rollout began; empty: it kept all
  std::vector<played_answer> played = {}; ///< of episodes, one for each of `sampled`; else empty
  /// Of episodes whose turns have advantages of their own; empty: none has.
  std::vector<std::vector<written_turn>> turns = {};
  std::int64_t turns_written = 0;    ///< of all answers
  std::int64_t segments_written = 0; ///< the same; of episodes, at least one an answer
  std::int64_t observed_tokens = 0;  ///< that environments said in them
  std::vector<float> baseline;       ///< reward of the greedy answer to the prompt, one per answer; or empty
  /// By name, of the columns that depend on more than the group and its versions.
  std::map<std::string, column_origin> origins;
  bool elsewhere = false; ///< an outline: another rank keeps the tokens and their columns, all 0 here
};

/// Tokens of an answer that are trained.
inline std::int64_t trained_tokens(const training_group& group, std::size_t answer) {
  if (group.mask.empty())
    return static_cast<std::int64_t>(group.answers[answer].size());
  std::int64_t tokens = 0;
  for (const std::uint8_t on : group.mask[answer])
    tokens += on != 0;
  return tokens;
}

} // namespace millrace::train
