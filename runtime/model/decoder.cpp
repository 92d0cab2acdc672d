#include "runtime/model/decoder.hpp"

#include "kernels/packed_matrix.hpp"
#include "kernels/system_memory.hpp"
#include "kernels/thread_team.hpp"
#include "runtime/model/rope_table.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

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

/// What a matrix is laid out as.
kernels::storage stored_as(const at::Tensor& matrix, sampling_precision kept) {
  if (kept == sampling_precision::int8)
    return kernels::storage::int8;
  return matrix.scalar_type() == at::kBFloat16 || kept == sampling_precision::bfloat16 ? kernels::storage::bfloat16
                                                                                       : kernels::storage::float32;
}

/// A layer's matrix and the parameter's name.
struct named_matrix {
  linear_weight* layer;
  std::string name;
};

/// @param source [out, in] contiguous, of a float or bfloat16
template <class Number>
kernels::packed_matrix laid_out(const at::Tensor& source, kernels::storage stored_as,
                                const std::shared_ptr<std::byte>& room) {
  using kernels::packed_matrix;
  const auto* w = static_cast<const Number*>(source.const_data_ptr());
  const std::int64_t out = source.size(0), in = source.size(1);
  if (stored_as == kernels::storage::int8)
    return packed_matrix::as_int8(w, out, in, room);
  if constexpr (std::is_same_v<Number, float>)
    if (stored_as == kernels::storage::bfloat16)
      return packed_matrix::as_bfloat16(w, out, in, room);
  return packed_matrix(w, out, in, room);
}

kernels::packed_matrix packed(const at::Tensor& source, kernels::storage stored_as, const std::string& name,
                              const std::shared_ptr<std::byte>& room) {
  constexpr double most_moved = 0.02;
  const std::string where = "parameter '" + name + "': ";
  try {
    auto made = source.scalar_type() == at::kBFloat16 ? laid_out<kernels::bfloat16>(source, stored_as, room)
                                                      : laid_out<float>(source, stored_as, room);
    if (made.rounding_error() > most_moved)
      throw input_error(where + "int8 moves it by " + std::to_string(made.rounding_error() * 100).substr(0, 4)
                        + " % of its size, want at most 2 %, or a wider rollout_dtype");
    return made;
  } catch (const std::invalid_argument& error) {
    throw input_error(where + error.what());
  }
}

/// Lays matrices out in one piece of memory, and lets each one's tensor go.
void pack_matrices(std::span<const named_matrix> matrices, sampling_precision kept, const layout_means& with) {
  using kernels::packed_matrix;
  const auto bytes_of = [&](const named_matrix& matrix) {
    const at::Tensor& w = matrix.layer->weight;
    return packed_matrix::bytes_of(w.size(0), w.size(1), stored_as(w, kept));
  };
  std::vector<std::size_t> places, order;
  std::size_t bytes = 0;
  for (const auto& matrix : matrices) {
    order.push_back(places.size());
    places.push_back(bytes);
    bytes += bytes_of(matrix);
  }
  std::ranges::stable_sort(order, std::greater<>(), [&](std::size_t i) { return bytes_of(matrices[i]); });
  const auto [all, zeros] =
      with.spare ? with.spare->take(bytes) : kernels::spare_memory::piece{kernels::system_memory(bytes)};
  if (!zeros && kept == sampling_precision::int8)
    std::memset(all.get(), 0, bytes); // its panels have room that nobody writes
  std::vector<std::exception_ptr> failed(matrices.size());
  const auto pack_one = [&, room = all](std::size_t i) {
    const auto& [w, name] = matrices[i];
    try {
      const at::Tensor source = std::exchange(w->weight, {}).detach().contiguous();
      w->packed = std::make_shared<packed_matrix>(
          packed(source, stored_as(source, kept), name, {room, room.get() + places[i]}));
    } catch (...) {
      failed[i] = std::current_exception();
    }
  };
  kernels::thread_team team(with.threads);
  team.run(static_cast<std::int64_t>(order.size()), 1, [&](std::int64_t first, std::int64_t last) {
    for (auto i = first; i < last; ++i)
      pack_one(order[static_cast<std::size_t>(i)]);
  });
  for (const auto& why : failed)
    if (why)
      std::rethrow_exception(why);
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

namespace {

constexpr std::pair<std::string_view, linear_weight decoder::layer::*> linear_parts[] = {
    {"self_attn.q_proj", &decoder::layer::q}, {"self_attn.k_proj", &decoder::layer::k},
    {"self_attn.v_proj", &decoder::layer::v}, {"self_attn.o_proj", &decoder::layer::o},
    {"mlp.gate_proj", &decoder::layer::gate}, {"mlp.up_proj", &decoder::layer::up},
    {"mlp.down_proj", &decoder::layer::down}};

std::string linear_name(std::size_t layer, std::string_view part) {
  return "model.layers." + std::to_string(layer) + '.' + std::string(part);
}

} // namespace

linear_weight* decoder::linear_named(std::string_view name) {
  for (std::size_t i = 0; i < layers_.size(); ++i)
    for (const auto& [part, member] : linear_parts)
      if (name == linear_name(i, part))
        return &(layers_[i].*member);
  return nullptr;
}

void decoder::pack(sampling_precision kept, const layout_means& with) {
  parameters_.clear();
  const auto own = [](at::Tensor& vector) {
    if (vector.defined())
      vector = vector.detach().to(at::kFloat, false, true);
  };
  const bool tied = embedding_.weight.is_same(head_.weight);
  if (tied)
    head_.weight.reset();
  std::vector<named_matrix> matrices;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    auto& l = layers_[i];
    for (const auto& [part, member] : linear_parts)
      matrices.push_back({&(l.*member), linear_name(i, part) + ".weight"});
    for (auto* norm : {&l.input_norm, &l.q_norm, &l.k_norm, &l.post_attention_norm})
      own(*norm);
  }
  own(final_norm_);
  matrices.push_back({&embedding_, "model.embed_tokens.weight"});
  if (!tied)
    matrices.push_back({&head_, config_.score_head ? "score.weight" : "lm_head.weight"});
  for (const auto& [w, name] : matrices)
    own(w->bias);
  pack_matrices(matrices, kept, with);
  if (tied)
    head_ = embedding_;
}

} // namespace millrace::model
