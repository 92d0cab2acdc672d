#pragma once

#include "runtime/model/activations.hpp"
#include "runtime/model/arithmetic.hpp"
#include "runtime/model/block_weights.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/model/packed_attention.hpp"
#include "runtime/model/packed_sequences.hpp"

#include <vector>

namespace millrace::model {

/// The decoder's arithmetic over packed sequences, differentiable in every parameter, on any device, in float or
/// double, or as `arithmetic` says in bfloat16. Hidden states are then bfloat16 too. The sum that blocks add to is
/// fp32: rounded at each block, it took the log-probabilities of SmolLM2 a third further away (docs/measured.md).
/// Without grad mode it keeps nothing, so it also scores (reference, `millrace score`).
///
///     training_operations ops(packed.groups);
///     at::Tensor hidden = decoder.hidden(ops, packed.tokens, packed.positions);
///
/// A parameter that requires a gradient and already has a `.grad` of its own shape receives its gradient added there
/// during the backward pass of a linear layer, without an intermediate of the weight's size; otherwise autograd
/// accumulates as usual.
class training_operations final : public operations {
public:
  /// @param groups the sequences of the calls to come; their tokens must add up to T
  /// @param blocks what brings the parameters of blocks; outlives the backward pass; nullptr: they are there
  explicit training_operations(std::vector<packed_group> groups, activations kept = activations::kept,
                               block_weights* blocks = nullptr, arithmetic how = {});

  at::Tensor embed(const linear_weight& table, const at::Tensor& tokens) override;
  void linear(const at::Tensor& x, std::span<const linear_weight* const> layers, std::span<at::Tensor> y) override;
  at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) override;
  at::Tensor add(const at::Tensor& a, const at::Tensor& b) override;
  at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) override;
  at::Tensor rope(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos,
                  const at::Tensor& sin) override;
  at::Tensor attention(std::int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override;
  at::Tensor run(std::int64_t layer, const block& one, const at::Tensor& x) override;

private:
  void see(at::Device device);

  std::vector<packed_group> groups_;
  activations activations_;
  block_weights* blocks_;
  arithmetic arithmetic_;
  std::shared_ptr<const seen_pieces> pieces_; ///< of the groups, once a layer has attended on the CPU
  std::vector<at::Tensor> masks_;             ///< the same where it did so elsewhere
};

/// A parameter of few numbers as passes compute with it, in fp32 and differentiable.
at::Tensor half_vector(const at::Tensor& parameter, const arithmetic& how);

} // namespace millrace::model
