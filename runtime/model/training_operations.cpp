#include "runtime/model/training_operations.hpp"

#include "kernels/system_memory.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/model/gradient_sink.hpp"
#include "runtime/model/matrix_product.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace millrace::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::Variable;
using torch::autograd::variable_list;

// In each of these functions, `value` is computed with in place of a parameter, whose gradient it is.

struct embed_function : Function<embed_function> {
  static Variable forward(AutogradContext* ctx, const Variable& table, const Variable& tokens, const stand_in& value) {
    ctx->save_for_backward({table, tokens});
    return value.kept.defined() ? value.kept.index_select(0, tokens) : value.of(table.index_select(0, tokens));
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto saved = ctx->get_saved_variables();
    const Variable &table = saved[0], &tokens = saved[1];
    const at::Tensor rows = gradients[0].to(table.scalar_type());
    if (at::Tensor sink = gradient_sink(table); sink.defined()) {
      sink.index_add_(0, tokens, rows);
      return {{}, {}, {}};
    }
    return {at::zeros_like(table).index_add_(0, tokens, rows), {}, {}};
  }
};

struct linear_function : Function<linear_function> {
  static Variable forward(AutogradContext* ctx, const Variable& x, const Variable& weight,
                          const std::optional<at::Tensor>& bias, const stand_in& value, const stand_in& bias_value) {
    ctx->save_for_backward({x, weight, value.kept});
    ctx->saved_data["rounds"] = value.rounds;
    ctx->saved_data["bias"] = bias.has_value();
    return product_transposed(x, value.of(weight), bias ? bias_value.of(*bias) : at::Tensor());
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto saved = ctx->get_saved_variables();
    const Variable &x = saved[0], &weight = saved[1];
    const stand_in value{.kept = saved[2], .rounds = ctx->saved_data["rounds"].toBool()};
    const at::Tensor dy = gradients[0].contiguous();
    const bool half = dy.scalar_type() == at::kBFloat16;
    at::Tensor dx, dweight, dbias;
    if (ctx->needs_input_grad(0))
      dx = product(dy, value.of(weight));
    if (ctx->needs_input_grad(1)) {
      dweight = half ? wide_product(dy.t(), x) : product(dy.t(), x);
      if (at::Tensor sink = gradient_sink(weight); sink.defined()) {
        sink.add_(dweight);
        dweight.reset();
      }
    }
    if (ctx->saved_data["bias"].toBool() && ctx->needs_input_grad(2))
      dbias = dy.sum(0, false, half ? at::kFloat : dy.scalar_type());
    return {dx, dweight, dbias, {}, {}};
  }
};

/// A parameter of few numbers, as fp32 of the rounded ones.
struct rounded_vector : Function<rounded_vector> {
  static Variable forward(AutogradContext*, const Variable&, const at::Tensor& value) { return value.to(at::kFloat); }

  static variable_list backward(AutogradContext*, const variable_list& gradients) { return {gradients[0], {}}; }
};

/// Keeps x and 1 / rms of each row. In fp32 at least, whatever x and the result are.
struct rms_norm_function : Function<rms_norm_function> {
  static Variable forward(AutogradContext* ctx, const Variable& given, const Variable& weight, double eps,
                          at::ScalarType made) {
    const at::Tensor x = widened(given);
    const at::Tensor inverse = x.square().mean(-1, true).add_(eps).rsqrt_();
    ctx->save_for_backward({given, weight, inverse});
    return x.mul(inverse).mul_(weight).to(made);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto saved = ctx->get_saved_variables();
    const Variable &weight = saved[1], &inverse = saved[2];
    const at::Tensor x = widened(saved[0]), dy = widened(gradients[0]);
    const at::Tensor normed = x * inverse;
    at::Tensor product = dy * normed;
    const at::Tensor dweight = product.reshape({-1, weight.size(0)}).sum(0);
    const at::Tensor along = product.mul_(weight).mean(-1, true);
    const at::Tensor dx = at::mul_out(product, dy, weight).sub_(normed.mul_(along)).mul_(inverse);
    return {dx.to(saved[0].scalar_type()), dweight, {}, {}};
  }
};

struct swiglu_function : Function<swiglu_function> {
  static Variable forward(AutogradContext* ctx, const Variable& gate, const Variable& up) {
    ctx->save_for_backward({gate, up});
    return at::silu(gate).mul_(up);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto saved = ctx->get_saved_variables();
    const Variable &gate = saved[0], &up = saved[1];
    return {at::silu_backward(gradients[0] * up, gate), at::silu(gate).mul_(gradients[0])};
  }
};

/// Turns each pair (x_i, x_{i + half}) by its angle; `sign` -1 turns back.
at::Tensor rotate(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin, double sign) {
  const std::int64_t half = x.size(-1) / 2;
  const at::Tensor first = x.narrow(-1, 0, half), second = x.narrow(-1, half, half);
  at::Tensor out = at::empty_like(x, at::MemoryFormat::Contiguous);
  out.narrow(-1, 0, half).copy_(first * cos - sign * (second * sin));
  out.narrow(-1, half, half).copy_(second * cos + sign * (first * sin));
  return out;
}

struct rope_function : Function<rope_function> {
  static Variable forward(AutogradContext* ctx, const Variable& x, const at::Tensor& cos, const at::Tensor& sin) {
    ctx->save_for_backward({cos, sin});
    return rotate(x, cos, sin, 1);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto saved = ctx->get_saved_variables();
    return {rotate(gradients[0], saved[0], saved[1], -1), {}, {}};
  }
};

/// A block whose parameters come and go; without `weights` they stay.
struct block_of {
  block_weights* weights = nullptr;
  std::int64_t layer = 0;

  void backward_begins() const {
    if (weights)
      weights->backward_begins(layer);
  }

  void backward_ends() const {
    if (weights)
      weights->backward_ends(layer);
  }
};

/// What a backward pass comes to: a block's output first, its input last.
enum class edge : std::int64_t { input, output };

struct block_edge : Function<block_edge> {
  static Variable forward(AutogradContext* ctx, const Variable& x, const block_of& its, edge which) {
    ctx->saved_data["weights"] = reinterpret_cast<std::int64_t>(its.weights);
    ctx->saved_data["layer"] = its.layer;
    ctx->saved_data["edge"] = static_cast<std::int64_t>(which);
    return x;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const block_of its{.weights = reinterpret_cast<block_weights*>(ctx->saved_data["weights"].toInt()),
                       .layer = ctx->saved_data["layer"].toInt()};
    if (static_cast<edge>(ctx->saved_data["edge"].toInt()) == edge::output)
      its.backward_begins();
    else
      its.backward_ends();
    return {gradients[0], {}, {}};
  }
};

/// Measured: what repeated blocks have freed lies about in the heap, more of it the longer the pass goes on.
constexpr std::int64_t blocks_between_trims = 8;

/// A block, and operations of its own: those of the forward pass are gone when the gradient comes.
struct block_to_repeat : torch::CustomClassHolder {
  block_to_repeat(operations::block what, training_operations with, block_of its)
      : one(std::move(what)), ops(std::move(with)), weights(its) {}

  operations::block one;
  training_operations ops;
  block_of weights;
};

/// Keeps x alone. The gradients of the block's parameters go to their `.grad` by a backward pass of its own.
struct recomputed_block : Function<recomputed_block> {
  /// @param anchor a scalar that requires a gradient: x need not, where only the block's parameters are trained
  static Variable forward(AutogradContext* ctx, const Variable& x, const Variable&,
                          const c10::intrusive_ptr<block_to_repeat>& what) {
    ctx->save_for_backward({x});
    ctx->saved_data["block"] = at::IValue::make_capsule(what);
    return what->one(what->ops, x);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto what = c10::static_intrusive_pointer_cast<block_to_repeat>(ctx->saved_data["block"].toCapsule());
    const Variable x = ctx->get_saved_variables()[0];
    const Variable input = x.detach().requires_grad_(x.requires_grad());
    what->weights.backward_begins();
    {
      const at::AutoGradMode with_grad(true);
      const Variable y = what->one(what->ops, input);
      if (y.requires_grad())
        torch::autograd::backward({y}, {gradients[0]});
    }
    what->weights.backward_ends();
    if (x.is_cpu() && what->weights.layer % blocks_between_trims == 0)
      kernels::trim_heap();
    return {input.grad(), {}, {}};
  }
};

} // namespace

training_operations::training_operations(std::vector<packed_group> groups, activations kept, block_weights* blocks,
                                         arithmetic how)
    : groups_(std::move(groups)), activations_(kept), blocks_(blocks), arithmetic_(how) {
}

at::Tensor training_operations::embed(const linear_weight& table, const at::Tensor& tokens) {
  return widened(embed_function::apply(table.weight, tokens, arithmetic_.of(table.weight)));
}

void training_operations::linear(const at::Tensor& x, std::span<const linear_weight* const> layers,
                                 std::span<at::Tensor> y) {
  TORCH_CHECK(layers.size() == y.size(), "linear: ", layers.size(), " layers, ", y.size(), " outputs");
  const auto multiplied = [&](const at::Tensor& by, const at::Tensor& weight, const at::Tensor& bias) {
    return linear_function::apply(by, arithmetic_.is_half() ? weight : widened(weight),
                                  bias.defined() ? std::optional(bias) : std::nullopt, arithmetic_.of(weight),
                                  arithmetic_.of(bias));
  };
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const linear_weight& w = *layers[i];
    const at::Tensor narrow = w.low_rank_a.defined() ? multiplied(x, w.low_rank_a, {}) : at::Tensor();
    y[i] = multiplied(x, w.weight, w.bias);
    if (narrow.defined())
      y[i] = y[i] + multiplied(narrow, w.low_rank_b, {}) * w.low_rank_scale;
  }
}

at::Tensor training_operations::rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  const bool half = arithmetic_.is_half();
  const bool itself = !half && arithmetic_.of(weight).is_parameter();
  return rms_norm_function::apply(x, itself ? weight : half_vector(weight, arithmetic_), eps,
                                  half ? at::kBFloat16 : x.scalar_type());
}

at::Tensor training_operations::add(const at::Tensor& a, const at::Tensor& b) {
  return a + b;
}

at::Tensor training_operations::swiglu(const at::Tensor& gate, const at::Tensor& up) {
  return swiglu_function::apply(gate, up);
}

at::Tensor training_operations::rope(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos,
                                     const at::Tensor& sin) {
  const auto of_each_token = [&](const at::Tensor& table) {
    const at::Tensor angles = table.index_select(0, positions).unsqueeze(1); // [T, 1, head_dim / 2]
    return arithmetic_.is_half() ? angles : angles.to(x.scalar_type());
  };
  return rope_function::apply(x, of_each_token(cos), of_each_token(sin));
}

at::Tensor training_operations::attention(std::int64_t, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v) {
  see(q.device());
  return pieces_ ? packed_attention(q, k, v, pieces_) : masked_attention(q, k, v, masks_);
}

void training_operations::see(at::Device device) {
  if (pieces_ || !masks_.empty())
    return;
  if (device.is_cpu())
    pieces_ = std::make_shared<seen_pieces>(groups_);
  else
    masks_ = attention_masks(groups_, device);
}

at::Tensor half_vector(const at::Tensor& parameter, const arithmetic& how) {
  const auto value = how.of(parameter);
  return value.is_parameter() ? widened(parameter) : rounded_vector::apply(parameter, value.of(parameter));
}

at::Tensor training_operations::run(std::int64_t layer, const block& one, const at::Tensor& x) {
  const bool back = at::GradMode::is_enabled();
  const block_of its{.weights = blocks_, .layer = layer};
  if (blocks_)
    blocks_->forward_begins(layer);
  at::Tensor y;
  if (back && activations_ == activations::recomputed) {
    see(x.device());
    training_operations again = *this;
    again.activations_ = activations::kept;
    const at::Tensor anchor = at::zeros({}, x.options()).requires_grad_();
    y = recomputed_block::apply(x, anchor, c10::make_intrusive<block_to_repeat>(one, std::move(again), its));
  } else if (back && blocks_) {
    y = block_edge::apply(one(*this, block_edge::apply(x, its, edge::input)), its, edge::output);
  } else {
    y = one(*this, x);
  }
  if (blocks_)
    blocks_->forward_ends(layer);
  return y;
}

} // namespace millrace::model
