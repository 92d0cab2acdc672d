#pragma once

#include "runtime/words/precision.hpp"

#include <ATen/core/Tensor.h>

#include <unordered_map>
#include <utility>

namespace millrace::model {

/// The bfloat16 numbers of parameters, which passes multiply with in place of the fp32 parameters. Whoever puts them in
/// keeps parameters as long as this lives, and rounds them again when they change.
class rounded_weights {
public:
  void set(const at::Tensor& parameter, at::Tensor rounded) {
    of_[parameter.unsafeGetTensorImpl()] = std::move(rounded);
  }

  /// @returns undefined where there is none
  at::Tensor of(const at::Tensor& parameter) const {
    const auto found = of_.find(parameter.unsafeGetTensorImpl());
    return found == of_.end() ? at::Tensor() : found->second;
  }

private:
  std::unordered_map<const at::TensorImpl*, at::Tensor> of_;
};

/// What is multiplied in place of a parameter.
struct stand_in {
  at::Tensor kept;     ///< its bfloat16 numbers; undefined: none
  bool rounds = false; ///< it is rounded to bfloat16 each time that it is used, and nothing is kept

  bool is_parameter() const { return !kept.defined() && !rounds; }

  /// @param part of the parameter, or all of it; what is kept is as long as all of it
  at::Tensor of(const at::Tensor& part) const {
    if (kept.defined())
      return kept;
    return rounds ? part.detach().to(at::kBFloat16).to(part.scalar_type()) : part;
  }
};

/// What training passes multiply. In bfloat16, the inputs of every product and what lies between two operations have 2
/// bytes a number. The sum that blocks add to is fp32, and so are sums within products, norms, softmax, angles,
/// log-probabilities and the gradients of parameters.
struct arithmetic {
  precision numbers = precision::float32;
  const rounded_weights* rounded = nullptr; ///< of bfloat16: parameters that are not there are rounded where they are
                                            ///< used
  bool rounds_weights = false; ///< in fp32, parameters are rounded to bfloat16 where they are multiplied, as rollouts
                               ///< have them

  bool is_half() const { return numbers == precision::bfloat16; }

  stand_in of(const at::Tensor& parameter) const {
    if (!parameter.defined() || parameter.scalar_type() == at::kBFloat16)
      return {};
    if (!is_half())
      return {.kept = {}, .rounds = rounds_weights};
    const at::Tensor known = rounded ? rounded->of(parameter) : at::Tensor();
    return {.kept = known.defined() ? known : parameter.detach().to(at::kBFloat16), .rounds = false};
  }
};

} // namespace millrace::model
