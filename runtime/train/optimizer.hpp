#pragma once

#include "runtime/model/weights.hpp"
#include "runtime/train/held_parameters.hpp"
#include "runtime/train/learning_rate.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace millrace::train {

/// Parameters with numbers of their own.
struct parameter_group {
  std::string match;                  ///< regular expression, found anywhere in the parameter's name
  std::optional<double> lr;           ///< in place of the optimizer's, on the same course; 0: frozen
  std::optional<double> weight_decay; ///< in place of the optimizer's
};

/// Gradient accumulation is the learner's micro-batches: however a step is cut, the optimizer sees one gradient of the
/// whole step, since the loss's denominators are the step's.
struct optimizer_options : learning_rate_options {
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;             ///< decoupled
  bool decay_norms = false;            ///< also on norms and biases (tensors of one dimension)
  double clip_norm = 1;                ///< of the whole gradient; 0: no clipping
  std::vector<parameter_group> groups; ///< the first that matches holds
};

/// AdamW over fp32 parameters, in place.
///
///     m = b1 m + (1 - b1) g      v = b2 v + (1 - b2) g^2
///     p = p (1 - lr wd) - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
///
/// Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2. Differs from it in: nothing.
class adamw {
public:
  /// @param parameters names and shapes of all @param own what this optimizer will update, as of
  ///        `held_parameters::updates`: it has moments of these alone @throws std::invalid_argument for an option out
  ///        of range, naming it; input_error for a group whose pattern does not compile or matches no parameter that an
  ///        earlier group left
  adamw(model::weights parameters, optimizer_options options, const std::vector<updated_piece>& own);

  /// One update with gradients scaled by `scale` (clipping), which are spent by it. A frozen parameter and its moments
  /// stay as they are.
  /// @param s where the learning rate's course stands, from 0: the training step, whose updates all have its rate
  /// @param own the same pieces in the same order, with the memory that they have now
  /// @returns the optimizer's learning rate; a group's own follows the same course
  double step(double scale, std::int64_t s, const std::vector<updated_piece>& own);

  std::int64_t steps() const { return steps_; } ///< updates: what the moments are corrected by

  const model::weights& parameters() const { return parameters_; }

  const std::vector<parameter_piece>& pieces() const { return pieces_; }

  /// Of each piece, shared; a piece that is a whole parameter has its shape.
  const std::vector<at::Tensor>& first_moments() const { return first_; }

  const std::vector<at::Tensor>& second_moments() const { return second_; }

  void set_steps(std::int64_t steps) { steps_ = steps; }

private:
  /// Parameters that are updated with the same two numbers.
  struct slice {
    double lr_factor = 1; ///< of the optimizer's learning rate
    double weight_decay = 0;
    std::vector<std::size_t> members; ///< pieces
  };

  void sort_into_slices();

  model::weights parameters_;
  optimizer_options options_;
  std::vector<slice> slices_;
  std::vector<parameter_piece> pieces_;
  std::vector<at::Tensor> first_, second_; ///< m and v of each piece
  std::int64_t steps_ = 0;
};

/// Makes the file of an optimizer's moments and update count in an existing folder, with room for the moments of all
/// ranks. @throws input_error
void make_optimizer_file(const adamw& optimizer, const std::filesystem::path& folder);

/// Writes the moments that this optimizer has into that file, side by side with other ranks. @throws input_error
void write_moments(const adamw& optimizer, const std::filesystem::path& folder);

/// Reads what all ranks wrote, any number of them; of a piece of a parameter only its part.
/// @throws input_error naming the file that is missing, truncated or of another model
void load_optimizer(adamw& optimizer, const std::filesystem::path& folder);

} // namespace millrace::train
