#include "runtime/model/packed_attention.hpp"

#include <ATen/ATen.h>

#include <numeric>

namespace millrace::model {
namespace {

std::int64_t tokens_of(const packed_group& group) {
  return std::accumulate(group.answers.begin(), group.answers.end(), group.prompt);
}

/// [tokens, tokens] bool: row sees column.
at::Tensor visible(const packed_group& group) {
  const std::int64_t tokens = tokens_of(group);
  at::Tensor mask = at::zeros({tokens, tokens}, at::kBool);
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

at::Tensor masked_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<packed_group>& groups) {
  std::vector<at::Tensor> parts;
  std::int64_t begin = 0;
  for (const auto& group : groups) {
    const std::int64_t tokens = tokens_of(group);
    const auto heads_first = [&](const at::Tensor& x) {
      return x.narrow(0, begin, tokens).transpose(0, 1).unsqueeze(0); // [1, heads, tokens, head_dim]
    };
    const at::Tensor out = at::scaled_dot_product_attention(heads_first(q), heads_first(k), heads_first(v),
                                                            visible(group).to(q.device()), 0.0, false, std::nullopt,
                                                            q.size(1) != k.size(1));
    parts.push_back(out.squeeze(0).transpose(0, 1).reshape({tokens, q.size(1) * q.size(2)}));
    begin += tokens;
  }
  TORCH_CHECK(begin == q.size(0), "attention: groups hold ", begin, " tokens, q has ", q.size(0));
  return at::cat(parts);
}

at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const std::vector<packed_group>& groups) {
  return masked_attention(q, k, v, groups);
}

} // namespace millrace::model
