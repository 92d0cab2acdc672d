#pragma once

#include "algorithms/algorithm.hpp"

#include <span>
#include <string_view>

namespace millrace::algorithms {

/// A named set of constants of a correction, as a paper or a code base has them.
struct preset {
  struct setting {
    std::string_view option;
    double value;
  };

  std::string_view name;             ///< the word of `preset = "..."`
  std::span<const setting> settings; ///< an option that is not named keeps its default
};

/// The part of a step that the weight of one token depends on.
enum class scope {
  answer, ///< whole answers; any micro-batch will do
  step,   ///< every token of the step, under the policy at its start
};

/// An off-policy correction: a factor on each token's policy-gradient loss, composable with every algorithm and with
/// other corrections (factors multiply). It never touches the KL or entropy term nor any denominator.
struct correction {
  std::string_view name;                   ///< the word in a pipeline file
  std::string_view source;                 ///< paper or code base
  std::string_view summary;                ///< one line
  std::string_view formula;                ///< lines of plain text
  std::string_view differences;            ///< where sources disagree, and the choice made here
  std::span<const hyperparameter> options; ///< constants, with defaults and ranges
  std::span<const preset> presets = {};
  scope sees = scope::answer;

  /// Log-ratios are taken in at least fp32 and clamped to [-20, 20] before their exponential.
  /// @param found `truncated` and `masked` grow by the tokens whose weight met a cap, or became 0
  /// @returns [N] detached, >= 0, finite
  at::Tensor (*weight)(const answer_columns& answers, const hyperparameter_values& values,
                       diagnostics& found) = nullptr;
};

/// Every correction of this build, in the order of the list in algorithms/CMakeLists.txt.
std::span<const correction* const> all_corrections();

/// @returns the row of that name, or nullptr
const correction* find_correction(std::string_view name);

} // namespace millrace::algorithms
