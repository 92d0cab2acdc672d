#pragma once

#include "runtime/words/precision.hpp"

#include <ATen/core/Tensor.h>

#include <optional>
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

/// What training passes multiply. In bfloat16, the inputs of every product and what lies between two operations have 2
/// bytes a number. The sum that blocks add to is fp32, and so are sums within products, norms, softmax, angles,
/// log-probabilities and the gradients of parameters.
struct arithmetic {
  precision numbers = precision::float32;
  const rounded_weights* rounded = nullptr; ///< of bfloat16: parameters that are not there are rounded where they are
                                            ///< used

  bool is_half() const { return numbers == precision::bfloat16; }

  /// @returns what is multiplied in place of the parameter; nothing: the parameter itself
  std::optional<at::Tensor> of(const at::Tensor& parameter) const {
    if (!is_half() || !parameter.defined() || parameter.scalar_type() == at::kBFloat16)
      return std::nullopt;
    const at::Tensor known = rounded ? rounded->of(parameter) : at::Tensor();
    return known.defined() ? known : parameter.detach().to(at::kBFloat16);
  }
};

} // namespace millrace::model
