#pragma once

#include "kernels/cached_attention.hpp"
#include "kernels/sample_token.hpp"
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

/// A token to draw: from which row of logits, how, and where in the cumulative distribution.
struct draw {
  std::int64_t row;
  kernels::sampling_rule rule;
  double uniform; ///< in [0, 1)
};

struct drawn_token {
  std::int32_t token;
  float logprob; ///< in softmax(logits / temperature) over all words, nats
};

/// The decoder's arithmetic for generating and scoring: kernels over cached keys and values, no gradients. Operations
/// may overwrite the tensors they are given.
///
/// Everything is computed in fp32; weights, keys and values that are kept in bfloat16 are widened where they are read.
/// On the CPU the weights are packed, and every row's result depends on its own tokens and the weights only, bit for
/// bit: not on the other rows, on their number or on the number of threads. On a GPU that holds of every operation but
/// the products of weights, whose order of adding cuBLAS chooses by the number of rows: rows agree to rounding there.
/// Work is enqueued on LibTorch's current stream; the host waits for it only where it reads tokens or
/// log-probabilities.
class inference_operations final : public operations {
public:
  /// @param team outlives this object
  explicit inference_operations(kernels::thread_team& team) : team_(team) {}

  /// The hidden states of `rows`, [rows, hidden] after the final norm, where the policy is. Rows of one sequence stand
  /// in the order of their positions; sequences have been grown to hold them, in a pool on the policy's device.
  /// @throws std::invalid_argument if a row's position lies outside its sequence or the model's context, or a token
  ///         outside the vocabulary, or the decoder is on the CPU and not packed
  at::Tensor forward(const decoder& policy, std::span<const inference_row> rows);

  /// Logits of some rows of `hidden`, [indices, vocab], where the policy is.
  at::Tensor logits(const decoder& policy, const at::Tensor& hidden, std::span<const std::int64_t> indices);

  /// One token for each draw, as `kernels::sample_token` draws it.
  /// @param logits [rows, vocab]; rows may be drawn from several times
  std::vector<drawn_token> sample(const at::Tensor& logits, std::span<const draw> draws);

  /// log softmax(logits / temperature) of one word of each row.
  /// @param logits [targets, vocab]   @param temperature > 0
  std::vector<float> logprobs(const at::Tensor& logits, std::span<const std::int32_t> targets, float temperature);

  at::Tensor embed(const linear_weight& table, const at::Tensor& tokens) override;
  void linear(const at::Tensor& x, std::span<const linear_weight* const> layers, std::span<at::Tensor> y) override;
  at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) override;
  at::Tensor add(const at::Tensor& a, const at::Tensor& b) override;
  at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) override;
  at::Tensor rope(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos,
                  const at::Tensor& sin) override;
  at::Tensor attention(std::int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) override;

private:
  struct inputs {
    at::Tensor tokens, positions; ///< [rows]
  };

  inputs on_cpu(std::span<const inference_row> rows);
  inputs on_gpu(std::span<const inference_row> rows, at::Device device);

  kernels::thread_team& team_;
  std::vector<kernels::cache_place> places_;    ///< of the rows, on the CPU
  at::Tensor uploaded_;                         ///< the rows' tokens, positions and places, on a GPU
  const kernels::cache_place* where_ = nullptr; ///< [rows], where the policy is
  kernels::storage cached_as_ = kernels::storage::float32;
  CUstream_st* stream_ = nullptr;
};

} // namespace millrace::model
