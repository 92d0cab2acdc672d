#pragma once

#include "kernels/cached_attention.hpp"
#include "kernels/thread_team.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/model/kv_cache.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace millrace::model {

/// One token of a forward pass: it is written to `sequence` at `position` and sees everything before it there.
struct inference_row {
  std::int32_t token;
  kv_sequence* sequence;
  std::int64_t position; ///< < sequence->length()
};

/// The decoder's arithmetic for generating and scoring: kernels over packed weights and cached keys and values, no
/// gradients. Every row's result depends on its own tokens and the weights only, bit for bit: not on the other rows,
/// on their number or on the number of threads. Operations may overwrite the tensors they are given.
///
/// Tensors that are not on the CPU go through ATen's own operations, without the bitwise promise.
class inference_operations final : public operations {
public:
  /// @param team outlives this object
  explicit inference_operations(kernels::thread_team& team) : team_(team) {}

  /// The hidden states of `rows`, [rows, hidden] after the final norm. Rows of one sequence stand in the order of
  /// their positions; sequences have been grown to hold them.
  /// @throws std::invalid_argument if a row's position lies outside its sequence or the model's context, or a token
  ///         outside the vocabulary, or the decoder is not packed
  at::Tensor forward(const decoder& policy, std::span<const inference_row> rows);

  /// Logits of some rows of `hidden`, [indices, vocab] on the CPU.
  at::Tensor logits(const decoder& policy, const at::Tensor& hidden, std::span<const std::int64_t> indices);

  at::Tensor embed(const at::Tensor& table, const at::Tensor& tokens) override;
  void linear(const at::Tensor& x, std::span<const linear_weight* const> layers, std::span<at::Tensor> y) override;
  at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) override;
  at::Tensor add(const at::Tensor& a, const at::Tensor& b) override;
  at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) override;
  at::Tensor rope(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos,
                  const at::Tensor& sin) override;
  at::Tensor attention(std::int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override;

private:
  at::Tensor attention_of_tensors(std::int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v);

  kernels::thread_team& team_;
  std::span<const inference_row> rows_;
  std::vector<kernels::cache_place> places_;
};

} // namespace millrace::model
