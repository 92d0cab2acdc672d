#include "runtime/model/packed_attention.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <limits>
#include <numeric>

namespace millrace::model {
namespace {

at::Tensor visible(const packed_group& group, at::Device device) {
  const std::int64_t tokens = std::accumulate(group.answers.begin(), group.answers.end(), group.prompt);
  at::Tensor mask = at::zeros({tokens, tokens}, at::TensorOptions(at::kBool).device(device));
  mask.narrow(1, 0, group.prompt).fill_(true);
  mask.narrow(0, 0, group.prompt).narrow(1, 0, group.prompt).tril_();
  std::int64_t begin = group.prompt;
  for (const std::int64_t length : group.answers) {
    mask.narrow(0, begin, length).narrow(1, begin, length).fill_(true).tril_();
    begin += length;
  }
  return mask;
}

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// The tokens of one group, heads first. @param x [T, heads, head_dim] @returns [1, heads, tokens, head_dim] fp32
at::Tensor wide_heads(const at::Tensor& x, std::int64_t begin, std::int64_t tokens) {
  return x.narrow(0, begin, tokens).transpose(0, 1).unsqueeze(0).to(at::kFloat);
}

/// The reverse of it. @param into [T, heads, head_dim]
void put_back(const at::Tensor& into, std::int64_t begin, const at::Tensor& heads) {
  into.narrow(0, begin, heads.size(2)).copy_(heads.squeeze(0).transpose(0, 1));
}

/// Groups one after another, each through LibTorch's fp32 kernel.
struct half_attention_function : Function<half_attention_function> {
  static Variable forward(AutogradContext* ctx, const Variable& q, const Variable& k, const Variable& v,
                          const std::vector<at::Tensor>& masks) {
    const at::Tensor out = at::empty_like(q, at::MemoryFormat::Contiguous);
    variable_list saved{q, k, v, out};
    std::int64_t begin = 0;
    for (const auto& mask : masks) {
      const std::int64_t tokens = mask.size(0);
      const auto [seen, log_sum] = at::_scaled_dot_product_flash_attention_for_cpu(
          wide_heads(q, begin, tokens), wide_heads(k, begin, tokens), wide_heads(v, begin, tokens), 0.0, false, mask);
      put_back(out, begin, seen);
      saved.push_back(log_sum);
      begin += tokens;
    }
    ctx->save_for_backward(std::move(saved));
    ctx->saved_data["masks"] = masks;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto saved = ctx->get_saved_variables();
    const Variable &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3];
    const at::Tensor dq = at::empty_like(q, at::MemoryFormat::Contiguous),
                     dk = at::empty_like(k, at::MemoryFormat::Contiguous),
                     dv = at::empty_like(v, at::MemoryFormat::Contiguous);
    std::int64_t begin = 0;
    std::size_t next = 4;
    for (const at::Tensor& mask : ctx->saved_data["masks"].toTensorVector()) {
      const std::int64_t tokens = mask.size(0);
      const auto heads = [&](const at::Tensor& x) { return wide_heads(x, begin, tokens); };
      const auto [of_q, of_k, of_v] = at::_scaled_dot_product_flash_attention_for_cpu_backward(
          heads(gradients[0]), heads(q), heads(k), heads(v), heads(out), saved[next++], 0.0, false, mask);
      put_back(dq, begin, of_q);
      put_back(dk, begin, of_k);
      put_back(dv, begin, of_v);
      begin += tokens;
    }
    return {dq, dk, dv, {}};
  }
};

} // namespace

std::vector<at::Tensor> attention_masks(std::span<const packed_group> groups, at::Device device) {
  std::vector<at::Tensor> masks;
  for (const auto& group : groups)
    masks.push_back(visible(group, device));
  return masks;
}

at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            std::span<const at::Tensor> masks) {
  std::vector<at::Tensor> parts;
  std::int64_t begin = 0;
  for (const auto& mask : masks) {
    const std::int64_t tokens = mask.size(0);
    const auto heads_first = [&](const at::Tensor& x) {
      return x.narrow(0, begin, tokens).transpose(0, 1).unsqueeze(0); // [1, heads, tokens, head_dim]
    };
    const at::Tensor out = at::scaled_dot_product_attention(heads_first(q), heads_first(k), heads_first(v), mask, 0.0,
                                                            false, std::nullopt, q.size(1) != k.size(1));
    parts.push_back(out.squeeze(0).transpose(0, 1).reshape({tokens, q.size(1) * q.size(2)}));
    begin += tokens;
  }
  TORCH_CHECK(begin == q.size(0), "attention: groups hold ", begin, " tokens, q has ", q.size(0));
  return at::cat(parts);
}

std::vector<at::Tensor> added_masks(std::span<const at::Tensor> masks) {
  std::vector<at::Tensor> added;
  for (const auto& mask : masks)
    added.push_back(at::zeros(mask.sizes(), mask.options().dtype(at::kFloat))
                        .masked_fill_(mask.logical_not(), -std::numeric_limits<double>::infinity()));
  return added;
}

at::Tensor packed_half_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                                 const std::vector<at::Tensor>& masks) {
  return half_attention_function::apply(q, k, v, masks).view({q.size(0), q.size(1) * q.size(2)});
}

} // namespace millrace::model
