#pragma once

#include "runtime/model/weights.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::train {

/// How the learning rate goes after its warm-up.
enum class decay { constant, linear, cosine };

/// "constant", "linear", "cosine". @throws std::invalid_argument for another word
decay decay_named(std::string_view name);

struct optimizer_options {
  double lr = 1e-6;
  double beta1 = 0.9, beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;          ///< decoupled; not on norms and biases (tensors of one dimension)
  std::int64_t warmup_steps = 0;    ///< linear from lr / (warmup + 1)
  decay schedule = decay::constant;
  std::int64_t total_steps = 0;     ///< where decay ends, warm-up included; > warmup_steps unless constant
  double final_lr_fraction = 0;     ///< of lr, at total_steps and after, in [0, 1]
  double clip_norm = 1;             ///< of the whole gradient; 0: no clipping
};

/// Learning rate of optimizer step `step`, counted from 0.
double learning_rate(const optimizer_options& options, std::int64_t step);

/// AdamW over fp32 parameters, in place.
///
///     m = b1 m + (1 - b1) g      v = b2 v + (1 - b2) g^2
///     p = p (1 - lr wd) - lr (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)
///
/// Source: Loshchilov and Hutter 2019, arXiv:1711.05101, algorithm 2. Differs from it in: nothing.
class adamw {
public:
  /// @param parameters kept by reference (tensors are shared); their `.grad` is what a step reads
  /// @throws std::invalid_argument for an option out of range, naming it
  adamw(model::weights parameters, optimizer_options options);

  /// Norm of all gradients together: each tensor's in float, their squares summed in double in manifest order.
  double gradient_norm() const;

  /// One update with gradients scaled by `scale` (clipping), which are spent by it. @returns the learning rate used
  double step(double scale);

  std::int64_t steps() const { return steps_; }

  /// The moments under `<name>.m` and `<name>.v`, shared.
  model::weights moments() const;

  void set_steps(std::int64_t steps) { steps_ = steps; }

private:
  model::weights parameters_;
  optimizer_options options_;
  std::vector<at::Tensor> first_, second_; ///< m and v, in manifest order
  std::int64_t steps_ = 0;
};

} // namespace millrace::train
