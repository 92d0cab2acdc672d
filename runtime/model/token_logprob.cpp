#include "runtime/model/token_logprob.hpp"

#include "runtime/model/gradient_sink.hpp"
#include "runtime/model/matrix_product.hpp"
#include "runtime/model/training_operations.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>

namespace millrace::model {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::Variable;
using torch::autograd::variable_list;

/// Logits that exist at a time; 16 MB in float, inside the last-level cache of a server core.
constexpr std::int64_t logits_at_once = std::int64_t{1} << 22;

/// What sums over the vocabulary are. @param h what is multiplied
at::ScalarType widest(const at::Tensor& h) {
  return h.scalar_type() == at::kBFloat16 ? at::kFloat : h.scalar_type();
}

/// Running log-sum-exp of each row, with the sum of the logits weighted by their exponentials for the entropy.
class running_softmax {
public:
  running_softmax(std::int64_t rows, const at::TensorOptions& numbers)
      : peak_(at::full({rows}, -std::numeric_limits<double>::infinity(), numbers)), sum_(at::zeros({rows}, numbers)),
        weighted_(at::zeros_like(sum_)) {}

  /// @param logits [rows, words of the block]
  void add(const at::Tensor& logits) {
    const at::Tensor peak = at::maximum(peak_, logits.amax(1));
    const at::Tensor keep = (peak_ - peak).exp_();
    const at::Tensor exponentials = (logits - peak.unsqueeze(1)).exp_();
    sum_.mul_(keep).add_(exponentials.sum(1));
    weighted_.mul_(keep).add_(exponentials.mul_(logits).sum(1));
    peak_ = peak;
  }

  at::Tensor log_sum() const { return peak_ + sum_.log(); }

  at::Tensor mean_logit() const { return weighted_ / sum_; }

private:
  at::Tensor peak_, sum_, weighted_; // [rows]
};

/// The tokens whose target lies in a block: their rows and columns within it.
struct targets_of_block {
  at::Tensor token;  ///< indices into [N]
  at::Tensor row;    ///< [found]
  at::Tensor column; ///< [found]

  targets_of_block(const at::Tensor& rows, const at::Tensor& targets, std::int64_t begin, std::int64_t words) {
    token = at::logical_and(targets.ge(begin), targets.lt(begin + words)).nonzero().squeeze(1);
    row = rows.index_select(0, token);
    column = targets.index_select(0, token) - begin;
  }
};

/// The head's products, over some of its words. Those of bfloat16 are divided by the temperature as fp32, others have
/// inputs that are.
class head_products {
public:
  head_products(const at::Tensor& hidden, double temperature)
      : half_(hidden.scalar_type() == at::kBFloat16), temperature_(temperature) {}

  /// @returns [rows, hidden] what is multiplied
  at::Tensor inputs(const at::Tensor& hidden, const at::Tensor& rows) const {
    const at::Tensor h = hidden.index_select(0, rows);
    return half_ ? h : h.div_(temperature_);
  }

  /// @returns [rows, words] logits divided by the temperature, not bfloat16
  at::Tensor logits(const at::Tensor& h, const at::Tensor& words) const {
    return half_ ? wide_product_transposed(h, words).div_(temperature_) : product_transposed(h, words);
  }

  /// @param dlogits [rows, words] of `logits`, which may change @returns the same as what is multiplied
  at::Tensor multiplied(const at::Tensor& dlogits) const {
    return half_ ? dlogits.div_(temperature_).to(at::kBFloat16) : dlogits;
  }

  at::Tensor product(const at::Tensor& a, const at::Tensor& b) const {
    return half_ ? wide_product(a, b) : model::product(a, b);
  }

  /// @param dh of `inputs` @returns that of the hidden states
  at::Tensor of_hidden(const at::Tensor& dh) const { return half_ ? dh.to(at::kBFloat16) : dh.div_(temperature_); }

private:
  bool half_;
  double temperature_;
};

struct token_logprob_function : Function<token_logprob_function> {
  /// @param value what is multiplied in place of the weight, whose gradient it is
  static variable_list forward(AutogradContext* ctx, const Variable& hidden, const Variable& weight,
                               const at::Tensor& rows, const at::Tensor& targets, double temperature,
                               const stand_in& value) {
    const auto [distinct, row_of_token] = at::_unique(rows, true, true);
    const head_products by(hidden, temperature);
    const at::Tensor h = by.inputs(hidden, distinct);
    const auto numbers = h.options().dtype(widest(h));
    const std::int64_t vocab = weight.size(0), step = words_at_once(h.size(0), vocab);
    running_softmax softmax(h.size(0), numbers);
    at::Tensor picked = at::empty({targets.size(0)}, numbers);
    for (std::int64_t begin = 0; begin < vocab; begin += step) {
      const std::int64_t words = std::min(step, vocab - begin);
      const at::Tensor logits = by.logits(h, words_of(weight, value, begin, words));
      softmax.add(logits);
      const targets_of_block here(row_of_token, targets, begin, words);
      picked.index_copy_(0, here.token, logits.index({here.row, here.column}));
    }
    const at::Tensor log_sum = softmax.log_sum();
    const at::Tensor entropy_of_row = log_sum - softmax.mean_logit();
    const at::Tensor entropy = entropy_of_row.index_select(0, row_of_token);
    const at::Tensor logprob = picked - log_sum.index_select(0, row_of_token);
    ctx->save_for_backward({weight, h, log_sum, distinct, row_of_token, targets, entropy_of_row, value.kept});
    ctx->saved_data["rounds"] = value.rounds;
    ctx->saved_data["temperature"] = temperature;
    ctx->saved_data["rows"] = hidden.size(0);
    ctx->set_materialize_grads(false);
    return {logprob, entropy};
  }

  /// With p = softmax(logits), d logprob_k = [k = target] - p_k and d H / d logit_k = -p_k (log p_k + H).
  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto saved = ctx->get_saved_variables();
    const Variable &weight = saved[0], &h = saved[1], &log_sum = saved[2];
    const Variable &distinct = saved[3], &row_of_token = saved[4], &targets = saved[5], &entropy = saved[6];
    const stand_in value{.kept = saved[7], .rounds = ctx->saved_data["rounds"].toBool()};
    const head_products by(h, ctx->saved_data["temperature"].toDouble());
    if (!gradients[0].defined() && !gradients[1].defined())
      return {at::Tensor(), at::Tensor(), {}, {}, {}, {}};
    const at::Tensor dlogprob = gradients[0].defined() ? gradients[0] : at::zeros_like(gradients[1]);
    const auto by_row = [&](const at::Tensor& of_token) {
      return at::zeros_like(log_sum).index_add_(0, row_of_token, of_token).unsqueeze(1);
    };
    const at::Tensor of_row = by_row(dlogprob).neg_();
    const at::Tensor dentropy = gradients[1].defined() ? by_row(gradients[1]) : at::Tensor();

    const bool wants_weight = ctx->needs_input_grad(1);
    at::Tensor sink = wants_weight ? gradient_sink(weight) : at::Tensor();
    const bool own = wants_weight && !sink.defined();
    if (own)
      sink = at::zeros_like(weight);
    at::Tensor dh = at::zeros(h.sizes(), h.options().dtype(widest(h)));
    const std::int64_t vocab = weight.size(0), step = words_at_once(h.size(0), vocab);
    for (std::int64_t begin = 0; begin < vocab; begin += step) {
      const std::int64_t words = std::min(step, vocab - begin);
      const at::Tensor block = words_of(weight, value, begin, words);
      at::Tensor dlogits = by.logits(h, block).sub_(log_sum.unsqueeze(1)); // log p
      if (dentropy.defined()) {
        const at::Tensor p = dlogits.exp();
        dlogits = p.mul_(of_row - dentropy * (dlogits + entropy.unsqueeze(1)));
      } else {
        dlogits.exp_().mul_(of_row);
      }
      const targets_of_block here(row_of_token, targets, begin, words);
      dlogits.index_put_({here.row, here.column}, dlogprob.index_select(0, here.token), true);
      dlogits = by.multiplied(dlogits);
      dh.add_(by.product(dlogits, block));
      if (wants_weight)
        sink.narrow(0, begin, words).add_(by.product(dlogits.t(), h));
    }
    at::Tensor dhidden = at::zeros({ctx->saved_data["rows"].toInt(), h.size(1)}, h.options());
    dhidden.index_copy_(0, distinct, by.of_hidden(dh));
    return {dhidden, own ? sink : at::Tensor(), {}, {}, {}, {}};
  }

private:
  /// Some rows of what is multiplied.
  static at::Tensor words_of(const at::Tensor& weight, const stand_in& value, std::int64_t begin, std::int64_t words) {
    return value.kept.defined() ? value.kept.narrow(0, begin, words) : value.of(weight.narrow(0, begin, words));
  }
};

} // namespace

std::int64_t words_at_once(std::int64_t rows, std::int64_t vocab) {
  return std::min(vocab, std::max<std::int64_t>(64, logits_at_once / std::max<std::int64_t>(rows, 1) / 64 * 64));
}

token_logprobs token_logprob(const at::Tensor& hidden, const linear_weight& head, const at::Tensor& rows,
                             const at::Tensor& targets, double temperature, const arithmetic& how) {
  TORCH_CHECK(temperature > 0, "temperature: want > 0, got ", temperature);
  TORCH_CHECK(rows.dim() == 1 && rows.sizes() == targets.sizes(), "rows, targets: want [N] both, got ", rows.sizes(),
              " and ", targets.sizes());
  TORCH_CHECK(!head.bias.defined(), "head: no decoder here has a bias on it");
  const auto out = token_logprob_function::apply(hidden, head.weight, rows, targets, temperature, how.of(head.weight));
  return {out[0], out[1]};
}

std::vector<std::vector<float>> score_answers(const decoder& model, std::span<const std::int32_t> prompt,
                                              std::span<const std::vector<std::int32_t>> answers, double temperature) {
  const at::NoGradGuard no_grad;
  const at::Device device = model.device();
  prompt_and_answers group{prompt, {answers.begin(), answers.end()}};
  const packed_sequences packed = pack({&group, 1});
  training_operations ops(packed.groups);
  const at::Tensor hidden = model.hidden(ops, packed.tokens.to(device), packed.positions.to(device));
  const at::Tensor logprob =
      token_logprob(hidden, model.head(), packed.rows.to(device), packed.targets.to(device), temperature)
          .logprob.to(at::kCPU, at::kFloat)
          .contiguous();
  std::vector<std::vector<float>> out;
  const float* at = logprob.data_ptr<float>();
  for (const auto& answer : answers) {
    out.emplace_back(at, at + answer.size());
    at += answer.size();
  }
  return out;
}

} // namespace millrace::model
