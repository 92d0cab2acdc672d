#pragma once

#include "runtime/run_files/step_lines.hpp"

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::telemetry {

/// Names of the figures of a step. Where TRL, verl or prime-rl has a name for the same thing it is used, so that
/// dashboards go on working.
namespace metric {
inline constexpr std::string_view reward = "reward";                              ///< TRL: mean over answers
inline constexpr std::string_view reward_std = "reward_std";                      ///< TRL: over answers
inline constexpr std::string_view reward_max = "critic/rewards/max";              ///< verl
inline constexpr std::string_view reward_min = "critic/rewards/min";              ///< verl
inline constexpr std::string_view flat_groups = "frac_reward_zero_std";           ///< TRL: groups without signal
inline constexpr std::string_view length_mean = "response_length/mean";           ///< verl: tokens an answer
inline constexpr std::string_view length_max = "response_length/max";             ///< verl
inline constexpr std::string_view length_clipped = "response_length/clip_ratio";  ///< verl: cut at the bound
inline constexpr std::string_view loss = "actor/pg_loss";                         ///< verl
inline constexpr std::string_view entropy = "actor/entropy";                      ///< verl: nats a token
inline constexpr std::string_view kl = "actor/kl_loss";                           ///< verl: to the reference, nats
inline constexpr std::string_view policy_kl = "actor/ppo_kl";                     ///< verl: behaviour to current
inline constexpr std::string_view clip_fraction = "actor/pg_clipfrac";            ///< verl
inline constexpr std::string_view gradient_norm = "actor/grad_norm";              ///< verl: before clipping
inline constexpr std::string_view learning_rate = "actor/lr";                     ///< verl
inline constexpr std::string_view mismatch_kl = "mismatch_kl";                    ///< prime-rl: rollout to learner
inline constexpr std::string_view logprob_gap = "rollout/logprob_max_difference"; ///< max |rollout - learner|, nats
inline constexpr std::string_view staleness_mean = "staleness/mean";              ///< versions, at use, by token
inline constexpr std::string_view staleness_max = "staleness/max";                ///< versions, at use

/// Trained tokens of one age in versions ("0", "1", "2", "3-4", "5-8", "9+"). Figures: tokens; reward, the mean of
/// answers whose oldest trained token is of that age; means over tokens of entropy, kl (k3) and kl_k1 (behaviour to
/// current), ratio (current over behaviour) and its largest, ratio_max; clip_fraction. Ages that no token has are left
/// out.
inline std::string of_age(std::string_view age, std::string_view figure) {
  return "staleness/" + std::string{age} + "/" + std::string{figure};
}

inline constexpr std::string_view throughput = "perf/throughput";                  ///< verl: trained tokens a second
inline constexpr std::string_view generation_rate = "perf/generated_tokens_per_s"; ///< tokens a second, all rollouts
inline constexpr std::string_view time_per_step = "perf/time_per_step";            ///< verl: seconds
inline constexpr std::string_view tokens = "tokens/trained";                       ///< since the run began
inline constexpr std::string_view tokens_generated = "tokens/generated";           ///< since the run began
inline constexpr std::string_view version = "policy/version";                      ///< after the step

inline std::string rule_reward(std::string_view rule) {
  return "rewards/" + std::string{rule} + "/mean";
} ///< TRL

inline constexpr std::string_view evaluation_prefix = "evaluation/";

inline std::string evaluation(std::string_view role, std::string_view figure) {
  return std::string{evaluation_prefix} + std::string{role} + "/" + std::string{figure};
}

inline std::string timing(std::string_view what) {
  return "timing_s/" + std::string{what};
} ///< verl
} // namespace metric

/// The figures of one step, in the order they are to be read.
struct metric_row {
  std::int64_t step = 0;                              ///< optimizer steps done, from 1
  double wall_s = 0;                                  ///< Unix time
  std::vector<std::pair<std::string, double>> values; ///< a number that is not finite is written as null

  void set(std::string_view name, double value);
  std::optional<double> get(std::string_view name) const;
};

/// metrics.jsonl: one JSON object a step, flushed a line at a time. An evaluation of a version is a row of its own,
/// with that version as its step, wherever it stands between the others.
class metrics_file {
public:
  /// Opens to append. Rows of steps after `last_step` (and a torn last line) are taken out, so that a step that is
  /// trained again after a resume is counted once. A new run passes 0. @throws storage_error
  metrics_file(std::filesystem::path path, std::int64_t last_step);
  /// @throws storage_error
  void append(const metric_row& row);

  /// As `growing_file::write_waiting`.
  void write_waiting() { lines_.write_waiting(); }

private:
  run_files::step_lines lines_;
};

/// Every whole row of a metrics file, in order; a torn or damaged line ends it. A missing file has none.
std::vector<metric_row> read_metrics(const std::filesystem::path& path);

} // namespace millrace::telemetry
