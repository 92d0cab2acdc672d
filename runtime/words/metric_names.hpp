#pragma once

#include <array>
#include <string>
#include <string_view>

/// Names of the figures of a step. Where TRL, verl or prime-rl has a name for the same thing it is used, so that
/// dashboards go on working. `pipeline::figures_of` has a sentence for each.
namespace millrace::metric {
inline constexpr std::string_view reward = "reward";                              ///< TRL: mean over answers
inline constexpr std::string_view reward_std = "reward_std";                      ///< TRL: over answers
inline constexpr std::string_view flat_groups = "frac_reward_zero_std";           ///< TRL: groups without signal
inline constexpr std::string_view length_mean = "response_length/mean";           ///< verl: tokens an answer
inline constexpr std::string_view length_max = "response_length/max";             ///< verl
inline constexpr std::string_view loss = "actor/pg_loss";                         ///< verl
inline constexpr std::string_view entropy = "actor/entropy";                      ///< verl: nats a token
inline constexpr std::string_view kl = "actor/kl_loss";                           ///< verl: to the reference, nats
inline constexpr std::string_view policy_kl = "actor/ppo_kl";                     ///< verl: behaviour to current
inline constexpr std::string_view clip_fraction = "actor/pg_clipfrac";            ///< verl
inline constexpr std::string_view gradient_norm = "actor/grad_norm";              ///< verl: before clipping
inline constexpr std::string_view learning_rate = "actor/lr";                     ///< verl
inline constexpr std::string_view mismatch_kl = "mismatch_kl";                    ///< prime-rl: rollout to learner
inline constexpr std::string_view logprob_gap = "rollout/logprob_max_difference"; ///< max |rollout - learner|, nats
inline constexpr std::string_view micro_batches = "micro_batches";                ///< of all updates of a step
inline constexpr std::string_view logprob_gap_mean = "rollout/logprob_mean_difference"; ///< mean of the same
inline constexpr std::string_view staleness_mean = "staleness/mean";                    ///< versions, at use, by token
inline constexpr std::string_view staleness_max = "staleness/max";                      ///< versions, at use

/// The ages, in versions, that figures are kept of apart.
inline constexpr std::array<std::string_view, 6> ages{"0", "1", "2", "3-4", "5-8", "9+"};

/// Trained tokens of one of the `ages`. Figures: tokens; reward, the mean of
/// answers whose oldest trained token is of that age; means over tokens of entropy, kl (k3) and kl_k1 (behaviour to
/// current), ratio (current over behaviour) and its largest, ratio_max; clip_fraction. Ages that no token has are left
/// out.
inline std::string of_age(std::string_view age, std::string_view figure) {
  return "staleness/" + std::string{age} + "/" + std::string{figure};
}

inline constexpr std::string_view generation_rate = "perf/generated_tokens_per_s"; ///< tokens a second, all rollouts
inline constexpr std::string_view time_per_step = "perf/time_per_step";            ///< verl: seconds
inline constexpr std::string_view prompt_tokens = "tokens/prompt";                 ///< each prompt of a step once
inline constexpr std::string_view flat_tokens = "tokens/flat_left_out";            ///< of a step's trained tokens
/// Of the prompts of groups that rollouts have finished since the session began: whose keys and values were there, and
/// which were computed.
inline constexpr std::string_view prompt_tokens_found = "tokens/prompt_found";
inline constexpr std::string_view prompt_tokens_computed = "tokens/prompt_computed";
/// That rollouts have sampled for clients, beside the run, since the session began.
inline constexpr std::string_view client_tokens = "clients/tokens";
/// Of the groups that rollouts have finished since the session began.
inline constexpr std::string_view tool_calls = "episodes/tool_calls";
inline constexpr std::string_view malformed_calls = "episodes/malformed_calls"; ///< some of them
inline constexpr std::string_view rewritten_histories =
    "episodes/rewritten_histories";                          ///< that somebody else than the chat template rewrote
inline constexpr std::string_view tokens = "tokens/trained"; ///< since the run began
inline constexpr std::string_view tokens_generated = "tokens/generated"; ///< since the run began
inline constexpr std::string_view version = "policy/version";            ///< after the step

inline std::string rule_reward(std::string_view rule) {
  return "rewards/" + std::string{rule} + "/mean";
} ///< TRL

/// Of one of several sources of prompts.
inline std::string source_reward(std::string_view source) {
  return "reward/" + std::string{source};
}

inline std::string source_groups(std::string_view source) {
  return "groups/from/" + std::string{source};
}

/// What a rule says beside its scores: a mean over the step's answers.
inline std::string rule_detail(std::string_view rule, std::string_view key) {
  return "rule/" + std::string{rule} + "/" + std::string{key};
}

inline constexpr std::string_view evaluation_prefix = "evaluation/";

inline std::string evaluation(std::string_view role, std::string_view figure) {
  return std::string{evaluation_prefix} + std::string{role} + "/" + std::string{figure};
}

inline std::string timing(std::string_view what) {
  return "timing_s/" + std::string{what};
} ///< verl
} // namespace millrace::metric
