#pragma once

#include "runtime/train/training_group.hpp"
#include "runtime/words/age_mask.hpp"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::train {

/// How a trained group came to be: enough to make it again from its seed, and to tell whether it is the same.
struct lineage {
  std::uint64_t group = 0;
  std::vector<std::vector<version_run>> answers; ///< of `training_group::sampled`, in the order of the tokens
  std::uint64_t checksum = 0;                    ///< XXH3 of every column that training reads, bit for bit
  std::vector<std::uint32_t> kept = {};          ///< `training_group::kept`
  std::map<std::string, column_origin> origins;  ///< of `training_group::origins`
  std::string by;                                ///< the role that answered, where the pipeline has several; else ""
  std::vector<std::int32_t> prompt = {};         ///< of episodes: what the environment began with
  std::vector<played_answer> played = {};        ///< `training_group::played`
  std::vector<std::uint64_t> drawn = {};         ///< source and row, where results decided which row came; else none

  bool operator==(const lineage&) const = default;
};

lineage lineage_of(const training_group& group);

/// One answer's tokens as runs.
/// @param recomputed as the rollout's column of that name; empty: nowhere
std::vector<version_run> runs_of(std::span<const std::uint32_t> version, std::span<const std::uint8_t> recomputed);

/// The groups of one step, or of one of its parts, in the order of the batch, as one JSON object on a line:
///
///     {"step":1,"part":0,"ends_step":true,"version":0,"threads":1,
///      "groups":[{"group":0,"answers":[[0,12,1,3]],"recomputed":[[1]],"checksum":"00ff..."}]}
///
/// and before the groups, where something was too old: "mask":"tokens","train_from":3; in a resumed run "session":2;
/// where a reference follows the policy "followed":true; where memory ran out, in this step or before, "cuts":[512] and
/// "critic_cut":256. `answers` are versions and tokens in turn, `recomputed` the
/// runs that began with keys and values computed anew, not there where none did. A group's "kept":[0,2] are the indices
/// of its answers among those that were begun, not there where all were kept; its "origins":{"value":[3,1]} are
/// versions and threads; "by":"rollout" says who answered where several could have, "drawn":[0,17] source and row where
/// results decided them. Of episodes "prompt" has the tokens that they begin with, and "played" for each answer what
/// was said to its turns, {"said":[[5,6],[]],"rewards":[0,1],"finish":0}, and "segments":[0] where the reply to a turn
/// begins a segment.
struct step_record {
  std::uint64_t step = 0;    ///< from 1
  std::uint32_t version = 0; ///< that was trained
  int threads = 0;           ///< of the learner: its sums depend on them
  std::vector<lineage> groups;
  std::uint32_t part = 0;
  bool ends_step = true;
  age_mask mask = age_mask::none;
  std::uint32_t train_from = 0;
  int session = 1;                     ///< of the run that trained it: one more for each resume
  bool followed = false;               ///< a reference that follows the policy had taken up `version` by then
  std::vector<std::int64_t> cuts = {}; ///< `step_report::cuts`
  std::int64_t critic_cut = 0;         ///< `value_report::cut`
};

std::string to_json(const step_record& step);

/// @throws input_error for text that `to_json` did not write
step_record step_record_from(std::string_view json);

} // namespace millrace::train
