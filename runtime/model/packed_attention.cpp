#include "runtime/model/packed_attention.hpp"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <numeric>
#include <utility>

namespace millrace::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::Variable;
using torch::autograd::variable_list;

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

at::Tensor of_tokens(const at::Tensor& x, seen_pieces::tokens which) {
  return x.narrow(0, which.first, which.count);
}

/// Some tokens as LibTorch's kernel takes them. @param x [T, heads, head_dim]
/// @returns [1, heads, tokens, head_dim], fp32 of bfloat16
at::Tensor heads_first(const at::Tensor& x, seen_pieces::tokens which) {
  const at::Tensor part = of_tokens(x, which);
  return (x.scalar_type() == at::kBFloat16 ? part.to(at::kFloat) : part).transpose(0, 1).unsqueeze(0);
}

/// The reverse of it: [tokens, heads, head_dim]
at::Tensor tokens_first(const at::Tensor& x) {
  return x.squeeze(0).transpose(0, 1);
}

/// What queries see of some keys.
struct attended {
  at::Tensor out;     ///< [tokens, heads, head_dim]
  at::Tensor log_sum; ///< [tokens, heads]: the logarithm of the softmax's denominator
};

/// @param q, k, v of the whole call @param causal a query sees the keys up to its own place
attended attend(const Variable& q, const Variable& k, const Variable& v, seen_pieces::tokens queries,
                seen_pieces::tokens keys, bool causal) {
  const auto [out, log_sum] = at::_scaled_dot_product_flash_attention_for_cpu(
      heads_first(q, queries), heads_first(k, keys), heads_first(v, keys), 0.0, causal);
  return {tokens_first(out), log_sum.squeeze(0).transpose(0, 1)};
}

/// What the backward pass keeps them by.
struct kept_pieces : torch::CustomClassHolder {
  explicit kept_pieces(std::shared_ptr<const seen_pieces> of) : pieces(std::move(of)) {}

  std::shared_ptr<const seen_pieces> pieces;
};

struct packed_attention_function : Function<packed_attention_function> {
  static Variable forward(AutogradContext* ctx, const Variable& q, const Variable& k, const Variable& v,
                          const std::shared_ptr<const seen_pieces>& pieces) {
    const auto wide = q.options().dtype(q.scalar_type() == at::kBFloat16 ? at::kFloat : q.scalar_type());
    const at::Tensor sums = at::empty(q.sizes(), wide), log_sums = at::empty({q.size(0), q.size(1)}, wide);
    for (const auto& group : pieces->groups) {
      for (const auto& sequence : group.sequences) {
        const auto own = attend(q, k, v, sequence, sequence, true);
        of_tokens(sums, sequence).copy_(own.out);
        of_tokens(log_sums, sequence).copy_(own.log_sum);
      }
      if (group.answers.count > 0)
        put_together(attend(q, k, v, group.answers, group.prompt, false), of_tokens(sums, group.answers),
                     of_tokens(log_sums, group.answers));
    }
    const at::Tensor out = sums.to(q.scalar_type());
    ctx->save_for_backward({q, k, v, out, log_sums});
    ctx->saved_data["pieces"] = at::IValue::make_capsule(c10::make_intrusive<kept_pieces>(pieces));
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto kept = c10::static_intrusive_pointer_cast<kept_pieces>(ctx->saved_data["pieces"].toCapsule());
    const auto saved = ctx->get_saved_variables();
    const Variable &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &log_sums = saved[4];
    const at::Tensor gradient = gradients[0].contiguous();
    const auto like = [](const Variable& x) { return at::empty_like(x, at::MemoryFormat::Contiguous); };
    const at::Tensor dq = like(q), dk = like(k), dv = like(v);
    // With the whole output and the whole denominator, the gradient of a piece is that piece's part of the gradient.
    const auto back = [&](seen_pieces::tokens queries, seen_pieces::tokens keys, bool causal) {
      return at::_scaled_dot_product_flash_attention_for_cpu_backward(
          heads_first(gradient, queries), heads_first(q, queries), heads_first(k, keys), heads_first(v, keys),
          heads_first(out, queries), of_tokens(log_sums, queries).transpose(0, 1).unsqueeze(0), 0.0, causal);
    };
    for (const auto& group : kept->pieces->groups) {
      for (const auto& sequence : group.sequences) {
        const auto [of_q, of_k, of_v] = back(sequence, sequence, true);
        of_tokens(dq, sequence).copy_(tokens_first(of_q));
        of_tokens(dk, sequence).copy_(tokens_first(of_k));
        of_tokens(dv, sequence).copy_(tokens_first(of_v));
      }
      if (group.answers.count == 0)
        continue;
      const auto [of_q, of_k, of_v] = back(group.answers, group.prompt, false);
      of_tokens(dq, group.answers).add_(tokens_first(of_q));
      of_tokens(dk, group.prompt).add_(tokens_first(of_k));
      of_tokens(dv, group.prompt).add_(tokens_first(of_v));
    }
    return {dq, dk, dv, {}};
  }

private:
  /// Adds what the same queries see of other keys.
  static void put_together(const attended& more, const at::Tensor& out, const at::Tensor& log_sum) {
    const at::Tensor both = at::logaddexp(log_sum, more.log_sum);
    const auto share = [&](const at::Tensor& of) { return of.sub(both).exp_().unsqueeze(-1); };
    out.mul_(share(log_sum)).addcmul_(more.out, share(more.log_sum));
    log_sum.copy_(both);
  }
};

} // namespace

seen_pieces::seen_pieces(std::span<const packed_group> packed) {
  for (const auto& one : packed) {
    group& next = groups.emplace_back();
    next.prompt = {fed, one.prompt};
    next.sequences.push_back(next.prompt);
    fed += one.prompt;
    next.answers = {fed, 0};
    for (const std::int64_t length : one.answers) {
      if (length > 0)
        next.sequences.push_back({fed, length});
      fed += length;
    }
    next.answers.count = fed - next.answers.first;
  }
}

at::Tensor packed_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            std::shared_ptr<const seen_pieces> pieces) {
  TORCH_CHECK(pieces->fed == q.size(0), "attention: groups hold ", pieces->fed, " tokens, q has ", q.size(0));
  return packed_attention_function::apply(q, k, v, std::move(pieces)).view({q.size(0), q.size(1) * q.size(2)});
}

at::Tensor masked_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            std::span<const at::Tensor> masks) {
  std::vector<at::Tensor> parts;
  std::int64_t begin = 0;
  for (const auto& mask : masks) {
    const seen_pieces::tokens group{begin, mask.size(0)};
    const auto heads = [&](const at::Tensor& x) { return of_tokens(x, group).transpose(0, 1).unsqueeze(0); };
    const at::Tensor out = at::scaled_dot_product_attention(heads(q), heads(k), heads(v), mask, 0.0, false,
                                                            std::nullopt, q.size(1) != k.size(1));
    parts.push_back(tokens_first(out).reshape({group.count, q.size(1) * q.size(2)}));
    begin += group.count;
  }
  TORCH_CHECK(begin == q.size(0), "attention: groups hold ", begin, " tokens, q has ", q.size(0));
  return at::cat(parts);
}

std::vector<at::Tensor> attention_masks(std::span<const packed_group> groups, at::Device device) {
  std::vector<at::Tensor> masks;
  for (const auto& group : groups)
    masks.push_back(visible(group, device));
  return masks;
}

} // namespace millrace::model
