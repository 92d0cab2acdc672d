#include "runtime/model/inference_operations.hpp"

#include "kernels/add.hpp"
#include "kernels/packed_matrix.hpp"
#include "kernels/rms_norm.hpp"
#include "kernels/rope.hpp"
#include "kernels/swiglu.hpp"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <cstring>
#include <stdexcept>

namespace millrace::model {

at::Tensor inference_operations::forward(const decoder& policy, std::span<const inference_row> rows) {
  const c10::NoGradGuard no_grad;
  const auto& config = policy.config();
  const auto count = static_cast<std::int64_t>(rows.size());
  at::Tensor tokens = at::empty({count}, at::kLong), positions = at::empty({count}, at::kLong);
  auto* token = tokens.data_ptr<std::int64_t>();
  auto* position = positions.data_ptr<std::int64_t>();
  places_.clear();
  for (const auto& row : rows) {
    if (row.token < 0 || row.token >= config.vocab_size)
      throw std::invalid_argument("token " + std::to_string(row.token) + ": want one in [0, " +
                                  std::to_string(config.vocab_size) + ")");
    if (row.position < 0 || row.position >= row.sequence->length() || row.position >= config.max_positions)
      throw std::invalid_argument("position " + std::to_string(row.position) + ": want one within the sequence (" +
                                  std::to_string(row.sequence->length()) + ") and the context (" +
                                  std::to_string(config.max_positions) + ")");
    *token++ = row.token;
    *position++ = row.position;
    places_.push_back({row.sequence->blocks(), row.position});
  }
  rows_ = rows;
  const auto device = policy.head().weight.device();
  return policy.hidden(*this, tokens.to(device), positions.to(device));
}

at::Tensor inference_operations::logits(const decoder& policy, const at::Tensor& hidden,
                                        std::span<const std::int64_t> indices) {
  const c10::NoGradGuard no_grad;
  const auto count = static_cast<std::int64_t>(indices.size());
  const at::Tensor index = at::from_blob(const_cast<std::int64_t*>(indices.data()), {count}, at::kLong);
  const at::Tensor rows = hidden.is_cpu() ? embed(hidden, index) : hidden.index_select(0, index.to(hidden.device()));
  const auto* head = &policy.head();
  at::Tensor y;
  linear(rows, {&head, 1}, {&y, 1});
  return y.cpu();
}

at::Tensor inference_operations::embed(const at::Tensor& table, const at::Tensor& tokens) {
  if (!table.is_cpu())
    return table.index_select(0, tokens);
  const std::int64_t width = table.size(1), count = tokens.size(0);
  at::Tensor x = at::empty({count, width}, at::kFloat);
  const float* from = table.data_ptr<float>();
  const auto* token = tokens.data_ptr<std::int64_t>();
  float* to = x.data_ptr<float>();
  for (std::int64_t t = 0; t < count; ++t)
    std::memcpy(to + t * width, from + token[t] * width, static_cast<std::size_t>(width) * sizeof(float));
  return x;
}

void inference_operations::linear(const at::Tensor& x, std::span<const linear_weight* const> layers,
                                  std::span<at::Tensor> y) {
  if (!x.is_cpu()) {
    for (std::size_t i = 0; i < layers.size(); ++i)
      y[i] = at::linear(x, layers[i]->weight, layers[i]->bias);
    return;
  }
  std::vector<kernels::packed_product> products;
  products.reserve(layers.size());
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto& layer = *layers[i];
    if (!layer.packed)
      throw std::invalid_argument("inference_operations: the decoder is not packed");
    y[i] = at::empty({x.size(0), layer.packed->out()}, at::kFloat);
    products.push_back({layer.packed.get(), layer.bias.defined() ? layer.bias.data_ptr<float>() : nullptr,
                        y[i].data_ptr<float>()});
  }
  kernels::packed_linear(x.data_ptr<float>(), x.size(0), products, team_);
}

at::Tensor inference_operations::rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (!x.is_cpu())
    return x * at::rsqrt(x.square().mean({-1}, true) + eps) * weight;
  const at::Tensor source = x.contiguous();
  at::Tensor y = at::empty(source.sizes(), at::kFloat);
  const std::int64_t width = weight.size(0);
  kernels::rms_norm({source.data_ptr<float>(), weight.data_ptr<float>(), y.data_ptr<float>(), source.numel() / width,
                     width, static_cast<float>(eps)},
                    team_);
  return y;
}

at::Tensor inference_operations::add(const at::Tensor& a, const at::Tensor& b) {
  if (!a.is_cpu())
    return a + b;
  kernels::add(a.data_ptr<float>(), b.data_ptr<float>(), a.numel(), team_);
  return a;
}

at::Tensor inference_operations::swiglu(const at::Tensor& gate, const at::Tensor& up) {
  if (!gate.is_cpu())
    return at::silu(gate) * up;
  kernels::swiglu({gate.data_ptr<float>(), up.data_ptr<float>(), gate.data_ptr<float>(), gate.numel()}, team_);
  return gate;
}

at::Tensor inference_operations::rope(const at::Tensor& x, const at::Tensor& positions, const at::Tensor& cos,
                                      const at::Tensor& sin) {
  if (!x.is_cpu()) {
    const at::Tensor c = cos.index_select(0, positions).unsqueeze(1), s = sin.index_select(0, positions).unsqueeze(1);
    const auto half = x.chunk(2, -1);
    return at::cat({half[0] * c - half[1] * s, half[1] * c + half[0] * s}, -1);
  }
  kernels::rope({x.data_ptr<float>(), positions.data_ptr<std::int64_t>(), cos.data_ptr<float>(), sin.data_ptr<float>(),
                 x.size(0), x.size(1), x.size(2)},
                team_);
  return x;
}

at::Tensor inference_operations::attention(std::int64_t layer, const at::Tensor& q, const at::Tensor& k,
                                           const at::Tensor& v) {
  if (!q.is_cpu())
    return attention_of_tensors(layer, q, k, v);
  at::Tensor y = at::empty({q.size(0), q.size(1) * q.size(2)}, at::kFloat);
  const kernels::cached_attention_args args{
      q.data_ptr<float>(), places_.data(), y.data_ptr<float>(), q.size(0), q.size(1), k.size(1), q.size(2),
      layer * kernels::cache_layer_floats(k.size(1), q.size(2))};
  kernels::append_to_cache(args, k.data_ptr<float>(), v.data_ptr<float>(), team_);
  kernels::cached_attention(args, team_);
  return y;
}

at::Tensor inference_operations::attention_of_tensors(std::int64_t layer, const at::Tensor& q, const at::Tensor& k,
                                                      const at::Tensor& v) {
  constexpr std::int64_t tokens = kernels::cache_block_tokens;
  const std::int64_t kv_heads = k.size(1), dim = q.size(2), part = kv_heads * tokens * dim;
  const std::int64_t start = layer * kernels::cache_layer_floats(kv_heads, dim);
  const auto keys = [&](const at::Tensor& block) { return block.narrow(0, start, part).view({kv_heads, dim, tokens}); };
  const auto values = [&](const at::Tensor& block) {
    return block.narrow(0, start + part, part).view({kv_heads, tokens, dim});
  };
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    const auto row = static_cast<std::int64_t>(r);
    const std::int64_t position = rows_[r].position;
    const at::Tensor& block = rows_[r].sequence->block(position / tokens);
    keys(block).select(2, position % tokens).copy_(k[row]);
    values(block).select(1, position % tokens).copy_(v[row]);
  }
  at::Tensor y = at::empty_like(q);
  for (std::size_t r = 0; r < rows_.size(); ++r) {
    const auto row = static_cast<std::int64_t>(r);
    const std::int64_t count = rows_[r].position + 1;
    std::vector<at::Tensor> k_blocks, v_blocks;
    for (std::int64_t b = 0; b * tokens < count; ++b) {
      k_blocks.push_back(keys(rows_[r].sequence->block(b)));
      v_blocks.push_back(values(rows_[r].sequence->block(b)));
    }
    const at::Tensor past_keys = at::cat(k_blocks, 2).narrow(2, 0, count);
    const at::Tensor past_values = at::cat(v_blocks, 1).narrow(1, 0, count);
    const at::Tensor scores = at::matmul(q[row].view({kv_heads, -1, dim}), past_keys) / std::sqrt(double(dim));
    y[row].copy_(at::matmul(scores.softmax(-1), past_values).view({-1, dim}));
  }
  return y.view({q.size(0), -1});
}

} // namespace millrace::model
