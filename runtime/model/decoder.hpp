#pragma once

#include "runtime/model/model_config.hpp"
#include "runtime/model/weights.hpp"
#include "runtime/words/precision.hpp"

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

namespace millrace::kernels {
class packed_matrix;
class spare_memory;
} // namespace millrace::kernels

namespace millrace::model {

/// A linear layer's parameters: y = x W^T + b, while an adapter is trained + scale (x A^T) B^T.
struct linear_weight {
  at::Tensor weight;                                    ///< [out, in]; undefined where it is packed
  at::Tensor bias;                                      ///< [out] or undefined
  std::shared_ptr<const kernels::packed_matrix> packed; ///< inference on the CPU only: in the kernel's layout
  at::Tensor low_rank_a = {}, low_rank_b = {}; ///< training only: an adapter's halves [r, in], [out, r]; or undefined
  double low_rank_scale = 0;
};

/// How the decoder's arithmetic is carried out. The decoder's definition (which tensors meet in which order) stands
/// once, in decoder.cpp; what differs between generating, scoring and training is only this: kernels over packed
/// weights and a KV cache (`inference_operations`), or differentiable operations over packed sequences
/// (`training_operations`). T is the number of tokens of the call, of any number of sequences.
class operations {
public:
  virtual ~operations() = default;

  /// @returns [T, hidden] rows of `table`, weight [vocab, hidden]
  virtual at::Tensor embed(const linear_weight& table, const at::Tensor& tokens) = 0;

  /// Several layers over the same input, so that one parallel region may serve them all.
  /// @param x [T, in]   @param layers w[i]: [out_i, in]   @param y out[i]: receives [T, out_i]
  virtual void linear(const at::Tensor& x, std::span<const linear_weight* const> layers, std::span<at::Tensor> y) = 0;

  /// x / sqrt(mean(x^2) + eps) * weight over the last dimension, which may be one head's.
  virtual at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) = 0;

  /// a + b; may reuse a's memory where no gradient is wanted.
  virtual at::Tensor add(const at::Tensor& a, const at::Tensor& b) = 0;

  /// silu(gate) * up, [T, ffn].
  virtual at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) = 0;

  /// Rotates the halves of each head (Hugging Face's convention) by the positions of this call.
  /// @param x [T, heads, head_dim]   @param cos,sin [max_positions, head_dim / 2] fp32
  virtual at::Tensor rope(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos,
                          const at::Tensor& sin) = 0;

  /// Causal attention; which token sees which is this object's own business (sequence bounds, KV cache).
  /// @param q [T, heads, head_dim]   @param k,v [T, kv_heads, head_dim]   @returns [T, heads * head_dim]
  virtual at::Tensor attention(std::int64_t layer, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) = 0;

  /// One block of the decoder, as a function of its input [T, hidden]. It may be called again as long as the decoder
  /// lives.
  using block = std::function<at::Tensor(operations& with, const at::Tensor& x)>;

  /// @returns [T, hidden] of the block number `layer` over `x`
  virtual at::Tensor run(std::int64_t layer, const block& one, const at::Tensor& x);
};

/// @throws input_error naming the parameter that holds NaN or infinity
void check_finite(const weights& parameters);

/// What matrices are laid out with.
struct layout_means {
  kernels::spare_memory* spare = nullptr; ///< where memory for them comes from; null: the system
  int threads = 1;                        ///< the bits do not depend on them
};

/// The decoder of every family (families.hpp): parameters plus one definition of the forward pass.
class decoder {
public:
  struct layer {
    at::Tensor input_norm; ///< [hidden]
    linear_weight q, k, v, o;
    at::Tensor q_norm, k_norm;      ///< [head_dim]; undefined where the family does not normalise heads
    at::Tensor post_attention_norm; ///< [hidden]
    linear_weight gate, up, down;
  };

  /// Takes the tensors as they are (shared, not copied), after checking every name, shape and that values are finite;
  /// not of tensors whose memory is away (`block_weights`).
  /// @throws input_error naming the parameter: missing, of the wrong shape, unknown, or holding NaN or infinity
  /// @throws std::invalid_argument for a configuration without a family
  decoder(model_config config, const weights& parameters);

  /// @param tokens,positions [T] int64   @returns [T, hidden], after the final norm
  at::Tensor hidden(operations& ops, const at::Tensor& tokens, const at::Tensor& positions) const;

  /// The output projection: [vocab, hidden], the embedding where they are tied, or [1, hidden] of a score head.
  const linear_weight& head() const { return head_; }

  /// A linear layer of a block by its name, e.g. `model.layers.0.mlp.up_proj`; nullptr if there is none.
  linear_weight* linear_named(std::string_view name);

  const model_config& config() const { return config_; }

  /// Where its parameters are.
  at::Device device() const { return cos_.device(); }

  /// Parameters in manifest order, the very tensors this decoder computes with; none once it is packed.
  const weights& parameters() const { return parameters_; }

  /// Lays every matrix out for the inference kernels and lets its tensor go. Afterwards `packed` is set everywhere, and
  /// the decoder shares no memory with the parameters that it was made of.
  /// @param kept what matrices are rounded to where that is narrower than they are
  /// @throws input_error naming the matrix that int8 moves by more than 2 % of its size (Euclidean norms), which 32
  ///         numbers with one scale of 16 bits do not do unless they are below 1e-5 or above 8e6
  void pack(sampling_precision kept = sampling_precision::float32, const layout_means& with = {});

private:
  at::Tensor block(operations& ops, std::int64_t index, const at::Tensor& x, const at::Tensor& positions) const;

  model_config config_;
  weights parameters_;
  linear_weight embedding_;
  std::vector<layer> layers_;
  at::Tensor final_norm_;
  linear_weight head_;
  at::Tensor cos_, sin_;
};

} // namespace millrace::model
