#pragma once

#include "algorithms/evaluate.hpp"

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::train {

/// A step's columns as a JSON file has them:
///
///     {"groups": [{"rewards": [..], "baseline": x, "domain": n,
///                  "answers": [{"logprob": [..], "behaviour_logprob": [..], "proximal_logprob": [..],
///                               "ref_logprob": [..], "value": [..], "old_value": [..], "entropy": [..],
///                               "version": [..], "mask": [..], "score": x}]}],
///      "version": n}
///
/// `logprob` is of the policy that is differentiated. Left out, `proximal_logprob` is `logprob`, `behaviour_logprob` is
/// `proximal_logprob`, `old_value` is `value`; the others are missing. A column is in every answer or in none. Masked
/// tokens (0 in `mask`) are taken out before anything is computed.
struct batch_file {
  algorithms::evaluation_batch batch;               ///< float64
  std::vector<std::vector<std::vector<bool>>> mask; ///< [group][answer][token]: whether the token is in the columns
  bool has_behaviour = false;
  bool has_version = false;
};

/// @param name of the file in messages
/// @throws input_error in one line naming the column and its row: no JSON, a column missing or of another length, a
///         number that is not finite, rewards and answers of two counts
batch_file parse_batch(std::string_view text, const std::string& name);

/// @throws input_error as `parse_batch`, or for a file that cannot be read
batch_file read_batch(const std::filesystem::path& path);

/// What `millrace algorithm eval` prints: token columns nested as in the file, 0 at masked tokens.
/// @param found of `file.batch`
std::string evaluation_json(const batch_file& file, const algorithms::evaluation& found);

} // namespace millrace::train
