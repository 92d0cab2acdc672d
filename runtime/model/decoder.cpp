#include "runtime/model/decoder.hpp"

#include "kernels/packed_matrix.hpp"
#include "kernels/system_memory.hpp"
#include "runtime/model/rope_table.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/ATen.h>

#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <span>
#include <sstream>
#include <stdexcept>
#include <utility>

namespace millrace::model {
namespace {

std::string shape_text(at::IntArrayRef shape) {
  std::ostringstream out;
  out << '[';
  for (std::size_t i = 0; i < shape.size(); ++i)
    out << (i ? ", " : "") << shape[i];
  out << ']';
  return out.str();
}

/// The sum of what holds NaN or infinity is not finite. Finite values may still add up to more than fp32 holds: a sum
/// in double decides then.
bool is_finite(const at::Tensor& tensor) {
  return std::isfinite(tensor.detach().sum().item<double>())
         || std::isfinite(tensor.detach().sum(at::kDouble).item<double>());
}

void check_finite(const std::string& name, const at::Tensor& tensor) {
  if (!is_finite(tensor))
    throw input_error("parameter '" + name + "': holds NaN or infinity");
}

kernels::storage stored_as(const at::Tensor& matrix) {
  return matrix.scalar_type() == at::kBFloat16 ? kernels::storage::bfloat16 : kernels::storage::float32;
}

/// Lays matrices out in one piece of memory, and lets each one's tensor go.
void pack_matrices(std::span<linear_weight* const> matrices) {
  using kernels::packed_matrix;
  std::size_t bytes = 0;
  for (const auto* w : matrices)
    bytes += packed_matrix::bytes_of(w->weight.size(0), w->weight.size(1), stored_as(w->weight));
  const auto all = kernels::system_memory(bytes);
  std::size_t next = 0;
  for (auto* w : matrices) {
    const at::Tensor source = std::exchange(w->weight, {}).detach().contiguous();
    const std::int64_t out = source.size(0), in = source.size(1);
    const std::shared_ptr<std::byte> room(all, all.get() + next);
    next += packed_matrix::bytes_of(out, in, stored_as(source));
    if (stored_as(source) == kernels::storage::bfloat16)
      w->packed = std::make_shared<packed_matrix>(static_cast<const kernels::bfloat16*>(source.const_data_ptr()), out,
                                                  in, room);
    else
      w->packed = std::make_shared<packed_matrix>(source.const_data_ptr<float>(), out, in, room);
  }
}

/// Hands parameters out by name and remembers which nobody asked for.
class parameter_table {
public:
  explicit parameter_table(const weights& parameters) {
    for (const auto& parameter : parameters)
      left_.emplace(parameter.name, parameter.tensor);
  }

  at::Tensor take(const std::string& name, std::vector<std::int64_t> shape) {
    const auto found = left_.find(name);
    if (found == left_.end())
      throw input_error("parameter '" + name + "': missing, want shape " + shape_text(shape));
    at::Tensor tensor = found->second;
    if (tensor.sizes() != at::IntArrayRef(shape))
      throw input_error("parameter '" + name + "': shape " + shape_text(tensor.sizes()) + ", want "
                        + shape_text(shape));
    if (!tensor.is_meta() && tensor.storage().nbytes() > 0)
      check_finite(name, tensor);
    left_.erase(found);
    return tensor;
  }

  void done() const {
    if (!left_.empty())
      throw input_error("parameter '" + left_.begin()->first + "': this architecture has none of that name");
  }

private:
  std::map<std::string, at::Tensor> left_;
};

enum class bias { absent, present };

decoder::layer take_layer(parameter_table& table, const model_config& c, std::int64_t index) {
  const std::string at = "model.layers." + std::to_string(index) + ".";
  const auto linear = [&](const std::string& name, std::int64_t out, std::int64_t in, bias its) {
    linear_weight w;
    w.weight = table.take(at + name + ".weight", {out, in});
    if (its == bias::present)
      w.bias = table.take(at + name + ".bias", {out});
    return w;
  };
  const bias of_qkv = c.attention_bias ? bias::present : bias::absent;
  const bias of_o = c.output_bias ? bias::present : bias::absent;
  const bias of_mlp = c.mlp_bias ? bias::present : bias::absent;
  decoder::layer l;
  l.input_norm = table.take(at + "input_layernorm.weight", {c.hidden_size});
  l.q = linear("self_attn.q_proj", c.heads * c.head_dim, c.hidden_size, of_qkv);
  l.k = linear("self_attn.k_proj", c.kv_heads * c.head_dim, c.hidden_size, of_qkv);
  l.v = linear("self_attn.v_proj", c.kv_heads * c.head_dim, c.hidden_size, of_qkv);
  l.o = linear("self_attn.o_proj", c.hidden_size, c.heads * c.head_dim, of_o);
  if (c.family->norms_heads) {
    l.q_norm = table.take(at + "self_attn.q_norm.weight", {c.head_dim});
    l.k_norm = table.take(at + "self_attn.k_norm.weight", {c.head_dim});
  }
  l.post_attention_norm = table.take(at + "post_attention_layernorm.weight", {c.hidden_size});
  l.gate = linear("mlp.gate_proj", c.ffn_size, c.hidden_size, of_mlp);
  l.up = linear("mlp.up_proj", c.ffn_size, c.hidden_size, of_mlp);
  l.down = linear("mlp.down_proj", c.hidden_size, c.ffn_size, of_mlp);
  return l;
}

} // namespace

at::Tensor operations::run(std::int64_t, const block& one, const at::Tensor& x) {
  return one(*this, x);
}

void check_finite(const weights& parameters) {
  for (const auto& parameter : parameters)
    check_finite(parameter.name, parameter.tensor);
}

decoder::decoder(model_config config, const weights& parameters) : config_(std::move(config)), parameters_(parameters) {
  const auto& c = config_;
  if (c.family == nullptr)
    throw std::invalid_argument("decoder: a configuration without a family");
  parameter_table table(parameters_);
  embedding_.weight = table.take("model.embed_tokens.weight", {c.vocab_size, c.hidden_size});
  for (std::int64_t i = 0; i < c.layers; ++i)
    layers_.push_back(take_layer(table, c, i));
  final_norm_ = table.take("model.norm.weight", {c.hidden_size});
  if (c.score_head)
    head_.weight = table.take("score.weight", {1, c.hidden_size});
  else
    head_.weight = c.tie_embeddings ? embedding_.weight : table.take("lm_head.weight", {c.vocab_size, c.hidden_size});
  table.done();
  auto [cos, sin] = rope_table(c);
  cos_ = cos.to(embedding_.weight.device());
  sin_ = sin.to(embedding_.weight.device());
}

at::Tensor decoder::block(operations& ops, std::int64_t index, const at::Tensor& input,
                          const at::Tensor& positions) const {
  const auto& c = config_;
  const std::int64_t count = input.size(0);
  const layer& l = layers_[static_cast<std::size_t>(index)];
  at::Tensor h = ops.rms_norm(input, l.input_norm, c.rms_norm_eps);
  std::array<at::Tensor, 3> qkv;
  ops.linear(h, std::array{&l.q, &l.k, &l.v}, qkv);
  at::Tensor q = qkv[0].view({count, c.heads, c.head_dim});
  at::Tensor k = qkv[1].view({count, c.kv_heads, c.head_dim});
  const at::Tensor v = qkv[2].view({count, c.kv_heads, c.head_dim});
  if (l.q_norm.defined()) {
    q = ops.rms_norm(q, l.q_norm, c.rms_norm_eps);
    k = ops.rms_norm(k, l.k_norm, c.rms_norm_eps);
  }
  q = ops.rope(q, positions, cos_, sin_);
  k = ops.rope(k, positions, cos_, sin_);
  std::array<at::Tensor, 1> out;
  ops.linear(ops.attention(index, q, k, v), std::array{&l.o}, out);
  const at::Tensor x = ops.add(input, out[0]);

  h = ops.rms_norm(x, l.post_attention_norm, c.rms_norm_eps);
  std::array<at::Tensor, 2> gate_up;
  ops.linear(h, std::array{&l.gate, &l.up}, gate_up);
  ops.linear(ops.swiglu(gate_up[0], gate_up[1]), std::array{&l.down}, out);
  return ops.add(x, out[0]);
}

at::Tensor decoder::hidden(operations& ops, const at::Tensor& tokens, const at::Tensor& positions) const {
  at::Tensor x = ops.embed(embedding_, tokens);
  for (std::int64_t i = 0; i < config_.layers; ++i)
    x = ops.run(
        i, [this, i, positions](operations& with, const at::Tensor& in) { return block(with, i, in, positions); }, x);
  return ops.rms_norm(x, final_norm_, config_.rms_norm_eps);
}

linear_weight* decoder::linear_named(std::string_view name) {
  static constexpr std::pair<std::string_view, linear_weight layer::*> parts[] = {
      {"self_attn.q_proj", &layer::q}, {"self_attn.k_proj", &layer::k}, {"self_attn.v_proj", &layer::v},
      {"self_attn.o_proj", &layer::o}, {"mlp.gate_proj", &layer::gate}, {"mlp.up_proj", &layer::up},
      {"mlp.down_proj", &layer::down}};
  for (std::size_t i = 0; i < layers_.size(); ++i)
    for (const auto& [part, member] : parts)
      if (name == "model.layers." + std::to_string(i) + '.' + std::string(part))
        return &(layers_[i].*member);
  return nullptr;
}

void decoder::pack() {
  parameters_.clear();
  const auto own = [](at::Tensor& vector) {
    if (vector.defined())
      vector = vector.detach().to(at::kFloat, false, true);
  };
  const bool tied = embedding_.weight.is_same(head_.weight);
  if (tied)
    head_.weight.reset();
  std::vector<linear_weight*> matrices;
  for (auto& l : layers_) {
    matrices.insert(matrices.end(), {&l.q, &l.k, &l.v, &l.o, &l.gate, &l.up, &l.down});
    for (auto* norm : {&l.input_norm, &l.q_norm, &l.k_norm, &l.post_attention_norm})
      own(*norm);
  }
  own(final_norm_);
  matrices.push_back(&embedding_);
  if (!tied)
    matrices.push_back(&head_);
  for (auto* w : matrices)
    own(w->bias);
  pack_matrices(matrices);
  if (tied)
    head_ = embedding_;
}

} // namespace millrace::model
