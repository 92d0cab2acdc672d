#include "runtime/model/packed_attention.hpp"

#include <ATen/ATen.h>

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

} // namespace millrace::model
