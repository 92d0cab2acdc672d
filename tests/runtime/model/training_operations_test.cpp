#include "runtime/model/matrix_product.hpp"
#include "runtime/model/score_head.hpp"
#include "runtime/model/token_logprob.hpp"
#include "runtime/model/training_operations.hpp"
#include "tests/runtime/model/random_decoder.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <torch/csrc/autograd/autograd.h>

#include <functional>

namespace training_operations_test {

namespace {

using namespace millrace;
using tests::random_weights;
using tests::tiny_config;

/// Sums of a few hundred products in another order.
constexpr double float_tolerance = 2e-5;
constexpr double double_tolerance = 1e-10;

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a - b).abs().max().item<double>();
}

at::Tensor norm(const at::Tensor& x, const at::Tensor& w, double eps) {
  return x * at::rsqrt(x.pow(2).mean(-1, true) + eps) * w;
}

at::Tensor turn(const at::Tensor& x, double theta) {
  const auto half = x.size(-1) / 2;
  const auto i = at::arange(half, x.options());
  const auto angle = at::outer(at::arange(x.size(0), x.options()), at::pow(theta, -2 * i / x.size(-1))).unsqueeze(1);
  const auto a = x.narrow(-1, 0, half), b = x.narrow(-1, half, half);
  return at::cat({a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()}, -1);
}

/// Logits of one whole sequence as the papers write them: every operation LibTorch's own, no packing.
at::Tensor plain_logits(const model::model_config& c, const model::weights& w, const at::Tensor& tokens) {
  const auto get = [&](const std::string& name) {
    for (const auto& p : w)
      if (p.name == name)
        return p.tensor;
    return at::Tensor();
  };
  const auto linear = [&](const at::Tensor& x, const std::string& name) {
    const auto bias = get(name + ".bias");
    const auto y = x.matmul(get(name + ".weight").t());
    return bias.defined() ? y + bias : y;
  };
  const auto n = tokens.size(0);
  auto x = get("model.embed_tokens.weight").index_select(0, tokens);
  const auto mask = at::full({n, n}, -INFINITY, x.options()).triu(1);
  for (std::int64_t i = 0; i < c.layers; ++i) {
    const auto at = "model.layers." + std::to_string(i) + ".";
    auto h = norm(x, get(at + "input_layernorm.weight"), c.rms_norm_eps);
    auto q = linear(h, at + "self_attn.q_proj").view({n, c.heads, c.head_dim});
    auto k = linear(h, at + "self_attn.k_proj").view({n, c.kv_heads, c.head_dim});
    const auto v = linear(h, at + "self_attn.v_proj").view({n, c.kv_heads, c.head_dim});
    if (c.family->norms_heads) {
      q = norm(q, get(at + "self_attn.q_norm.weight"), c.rms_norm_eps);
      k = norm(k, get(at + "self_attn.k_norm.weight"), c.rms_norm_eps);
    }
    q = turn(q, c.rope_theta), k = turn(k, c.rope_theta);
    const auto repeats = c.heads / c.kv_heads;
    const auto keys = k.repeat_interleave(repeats, 1).transpose(0, 1),
               values = v.repeat_interleave(repeats, 1).transpose(0, 1);
    const auto scores = q.transpose(0, 1).matmul(keys.transpose(1, 2)) / std::sqrt(double(c.head_dim)) + mask;
    const auto seen = scores.softmax(-1).matmul(values).transpose(0, 1).reshape({n, c.heads * c.head_dim});
    x = x + linear(seen, at + "self_attn.o_proj");
    h = norm(x, get(at + "post_attention_layernorm.weight"), c.rms_norm_eps);
    x = x + linear(at::silu(linear(h, at + "mlp.gate_proj")) * linear(h, at + "mlp.up_proj"), at + "mlp.down_proj");
  }
  x = norm(x, get("model.norm.weight"), c.rms_norm_eps);
  const auto head = c.tie_embeddings ? get("model.embed_tokens.weight") : get("lm_head.weight");
  return x.matmul(head.t());
}

struct sample {
  std::vector<std::int32_t> prompt;
  std::vector<std::vector<std::int32_t>> answers;
};

/// Two groups whose lengths hurt: answers of no, one and many tokens, a prompt of one.
std::vector<sample> two_groups() {
  return {{{1, 2, 3, 4, 5}, {{6, 7, 8}, {9}, {}, {3, 1, 4, 1, 5, 9, 2, 6, 5}}},
          {{11}, {{7, 7}, {2, 3, 5, 7, 11, 13, 17}}}};
}

model::packed_sequences packed(const std::vector<sample>& groups) {
  std::vector<model::prompt_and_answers> views;
  for (const auto& g : groups)
    views.push_back({g.prompt, {g.answers.begin(), g.answers.end()}});
  return model::pack(views);
}

at::Tensor packed_logprob(const model::decoder& d, const std::vector<sample>& groups, double temperature,
                          model::activations kept = model::activations::kept, const model::arithmetic& how = {}) {
  const auto p = packed(groups);
  model::training_operations ops(p.groups, kept, nullptr, how);
  return model::token_logprob(d.hidden(ops, p.tokens, p.positions), d.head(), p.rows, p.targets, temperature, how)
      .logprob;
}

at::Tensor plain_logprob(const model::model_config& c, const model::weights& w, const std::vector<sample>& groups,
                         double temperature) {
  std::vector<at::Tensor> parts;
  for (const auto& g : groups)
    for (const auto& answer : g.answers) {
      std::vector<std::int64_t> whole(g.prompt.begin(), g.prompt.end());
      whole.insert(whole.end(), answer.begin(), answer.end());
      const auto tokens = at::tensor(whole, at::kLong);
      const auto log_softmax = (plain_logits(c, w, tokens) / temperature).log_softmax(-1);
      const auto first = static_cast<std::int64_t>(g.prompt.size()) - 1, n = static_cast<std::int64_t>(answer.size());
      if (n > 0)
        parts.push_back(
            log_softmax.narrow(0, first, n).gather(1, tokens.narrow(0, first + 1, n).unsqueeze(1)).squeeze(1));
    }
  return at::cat(parts);
}

std::vector<at::Tensor> leaves(const model::weights& w) {
  std::vector<at::Tensor> out;
  for (const auto& p : w)
    out.push_back(p.tensor);
  return out;
}

} // namespace

TEST_CASE("packing lays a group out as prompt and answers without their last tokens") {
  const auto p = packed({{{10, 11}, {{20, 21, 22}, {30}}}});
  CHECK(at::equal(p.tokens, at::tensor({10, 11, 20, 21}, at::kLong)));
  CHECK(at::equal(p.positions, at::tensor({0, 1, 2, 3}, at::kLong)));
  CHECK(at::equal(p.rows, at::tensor({1, 2, 3, 1}, at::kLong)));
  CHECK(at::equal(p.targets, at::tensor({20, 21, 22, 30}, at::kLong)));
  CHECK(p.groups[0].answers == std::vector<std::int64_t>{2, 0});
}

TEST_CASE("an empty prompt is refused by name") {
  CHECK_THROWS_WITH_AS(packed({{{1}, {{2}}}, {{}, {{2}}}}), "group 1: an empty prompt, want at least one token",
                       std::invalid_argument);
}

TEST_CASE("packed log-probabilities and gradients are those of each sequence on its own") {
  for (const auto& family : model::families())
    for (const auto type : {at::kFloat, at::kDouble}) {
      CAPTURE(std::string(family.name));
      CAPTURE(type == at::kDouble);
      const double tolerance = type == at::kFloat ? float_tolerance : 1e-6; // the decoder's table of angles is fp32
      const auto config = tiny_config(family.name);
      const auto w = random_weights(config, 7, type, true);
      const model::decoder d(config, w);
      const auto want = plain_logprob(config, w, two_groups(), 0.7);
      const auto got = packed_logprob(d, two_groups(), 0.7);
      CHECK(largest_difference(got, want) < tolerance);

      const auto weigh = at::linspace(-1, 1, got.size(0), got.options());
      const auto want_gradients = torch::autograd::grad({(want * weigh).sum()}, leaves(w));
      const auto got_gradients = torch::autograd::grad({(got * weigh).sum()}, leaves(w));
      for (std::size_t i = 0; i < w.size(); ++i) {
        CAPTURE(w[i].name);
        CHECK(largest_difference(got_gradients[i], want_gradients[i]) < 10 * tolerance);
      }
    }
}

TEST_CASE("a gradient that is already there is added to in place") {
  const auto config = tiny_config("qwen2");
  const auto w = random_weights(config, 3, at::kDouble, true);
  const model::decoder d(config, w);
  const auto want = torch::autograd::grad({packed_logprob(d, two_groups(), 1).sum()}, leaves(w));
  for (const auto& p : w)
    p.tensor.mutable_grad() = at::ones_like(p.tensor);
  const auto kept = w[0].tensor.grad();
  packed_logprob(d, two_groups(), 1).sum().backward();
  CHECK(w[0].tensor.grad().is_same(kept));
  for (std::size_t i = 0; i < w.size(); ++i) {
    CAPTURE(w[i].name);
    CHECK(largest_difference(w[i].tensor.grad(), want[i] + 1) < double_tolerance);
  }
}

TEST_CASE("blocks that are computed again give the same gradients bit for bit") {
  /// The gradients of two backward passes, the second on top of the first.
  const auto gradients = [](const model::model_config& config, const model::weights& w, model::activations kept,
                            precision numbers) {
    const model::decoder d(config, w);
    for (const auto& p : w)
      p.tensor.mutable_grad().reset();
    for (const double temperature : {0.7, 1.0}) {
      const auto logprob = packed_logprob(d, two_groups(), temperature, kept, {.numbers = numbers});
      (logprob * at::linspace(-1, 1, logprob.size(0), logprob.options())).sum().backward();
    }
    std::vector<at::Tensor> found;
    for (const auto& p : w)
      found.push_back(p.tensor.grad());
    return found;
  };
  for (const auto& family : model::families()) {
    const auto config = tiny_config(family.name);
    const auto w = random_weights(config, 7, at::kFloat, true);
    for (const bool embeds : {true, false}) // a frozen table: the first block's input has no gradient
      for (const auto numbers : {precision::float32, precision::bfloat16}) {
        CAPTURE(std::string(family.name));
        CAPTURE(embeds);
        CAPTURE(int(numbers));
        w[0].tensor.set_requires_grad(embeds);
        const auto want = gradients(config, w, model::activations::kept, numbers);
        const auto got = gradients(config, w, model::activations::recomputed, numbers);
        for (std::size_t i = 0; i < w.size(); ++i) {
          CAPTURE(w[i].name);
          REQUIRE(got[i].defined() == want[i].defined());
          CHECK((!want[i].defined() || at::equal(got[i], want[i])));
        }
      }
  }
}

TEST_CASE("products of bfloat16 are summed in fp32, and rounded once or not at all") {
  // Behind 256 the next number of bfloat16 is 258: 256 ones that are added one by one would all be lost.
  const auto a = at::ones({1, 257}, at::kBFloat16), b = at::ones({1, 257}, at::kBFloat16);
  b[0][0] = 256;
  CHECK(model::product_transposed(a, b).item<float>() == 512);
  CHECK(model::product(a, b.t()).item<float>() == 512);
  const auto bias = at::ones({1}, at::kBFloat16); // 513 lies between 512 and 516, and nearer to 512
  CHECK(model::product_transposed(a, b, bias).item<float>() == 512);
  CHECK(model::product_transposed(a, b, bias * 3).item<float>() == 516);
  a[0][1] = 2;
  CHECK(model::wide_product_transposed(a, b).item<float>() == 513);
  CHECK(model::wide_product(a, b.t()).item<float>() == 513);
  CHECK((model::wide_product(a, b.t()).scalar_type() == at::kFloat));
  CHECK((model::product(a, b.t()).scalar_type() == at::kBFloat16));
}

TEST_CASE("in bfloat16, gradients are fp32's but for the rounding of what is multiplied") {
  // Rounding moves a number by 2^-8 of itself at most, by a third of that in the root mean square. A product rounds
  // both inputs and its result. From a gradient to the logits and back there are some thirty products with roundings
  // that do not depend on each other: sqrt(30 * 3) / 3 = 3.2 times 2^-8. Twice that is let.
  constexpr double bound = 6.4 / 256;
  for (const auto& family : model::families()) {
    CAPTURE(std::string(family.name));
    const auto config = tiny_config(family.name);
    const auto w = random_weights(config, 7, at::kFloat, true);
    const model::decoder d(config, w);
    const auto gradient = [&](precision numbers) {
      const auto logprob = packed_logprob(d, two_groups(), 0.8, model::activations::kept, {.numbers = numbers});
      CHECK((logprob.scalar_type() == at::kFloat));
      const auto weighed = (logprob * at::linspace(-1, 1, logprob.size(0), logprob.options())).sum();
      std::vector<at::Tensor> flat;
      for (const auto& one : torch::autograd::grad({weighed}, leaves(w))) {
        CHECK((one.scalar_type() == at::kFloat));
        flat.push_back(one.view(-1));
      }
      return at::cat(flat);
    };
    const auto want = gradient(precision::float32), got = gradient(precision::bfloat16);
    const double moved = ((got - want).norm() / want.norm()).item<double>();
    MESSAGE(family.name << ": the gradient moves by " << moved << " of itself");
    CHECK(moved > 1e-4);
    CHECK(moved < bound);
  }
}

TEST_CASE("in bfloat16, what is computed with are the rounded parameters, and the gradient is the parameters'") {
  const auto config = tiny_config("qwen3");
  const auto w = random_weights(config, 7, at::kFloat, true);
  auto narrow = w;
  model::rounded_weights rounded;
  for (auto& one : narrow) {
    rounded.set(w[static_cast<std::size_t>(&one - narrow.data())].tensor, one.tensor.detach().to(at::kBFloat16));
    one.tensor = one.tensor.detach().to(at::kBFloat16);
  }
  const model::decoder d(config, w), other(config, narrow);
  const model::arithmetic on_the_way{.numbers = precision::bfloat16}, once{precision::bfloat16, &rounded};
  const auto want = packed_logprob(other, two_groups(), 1, model::activations::kept, on_the_way);
  for (const auto& how : {on_the_way, once}) {
    const auto got = packed_logprob(d, two_groups(), 1, model::activations::kept, how);
    CHECK(at::equal(got, want));
    got.sum().backward();
  }
  // A parameter that the map has otherwise is computed with as the map has it.
  rounded.set(w[0].tensor, at::zeros_like(narrow[0].tensor));
  CHECK(!at::equal(packed_logprob(d, two_groups(), 1, model::activations::kept, once), want));
  for (const auto& one : w)
    CHECK((one.tensor.grad().scalar_type() == at::kFloat));
}

TEST_CASE(
    "in fp32 with rounded weights, everything is as with parameters that are bfloat16's, and so is the gradient") {
  for (const auto* family : {"llama", "qwen2", "qwen3"}) {
    CAPTURE(family);
    const auto config = tiny_config(family);
    const auto exact = random_weights(config, 7, at::kFloat, true);
    auto narrow = exact;
    for (auto& one : narrow)
      one.tensor = one.tensor.detach().to(at::kBFloat16).to(at::kFloat).requires_grad_();
    const model::decoder d(config, exact), other(config, narrow);
    for (const auto kept : {model::activations::kept, model::activations::recomputed}) {
      const auto found = packed_logprob(d, two_groups(), 0.7, kept, {.rounds_weights = true});
      const auto want = packed_logprob(other, two_groups(), 0.7, kept, {});
      CHECK(at::equal(found, want));
      found.sum().backward();
      want.sum().backward();
      for (std::size_t i = 0; i < exact.size(); ++i) {
        CAPTURE(exact[i].name);
        CHECK(at::equal(exact[i].tensor.grad(), narrow[i].tensor.grad()));
      }
    }
  }
}

TEST_CASE("in bfloat16, a number of a score head is a sum in fp32") {
  // 256 + 1: bfloat16 has no 257.
  const model::linear_weight head{at::tensor({256.f, 1.00390625f}).view({1, 2}).requires_grad_(), {}, nullptr};
  const auto hidden = at::ones({3, 2}, at::kBFloat16);
  const auto score =
      model::token_scores(hidden, head, at::tensor({2}, at::kLong), {.numbers = precision::bfloat16}); // 1 + 2^-8: 1
  CHECK(score.item<float>() == 257);
  score.sum().backward();
  CHECK(at::equal(head.weight.grad(), at::ones({1, 2})));
}

TEST_CASE("token log-probabilities over several blocks of the vocabulary equal log_softmax") {
  constexpr std::int64_t rows = 2100, hidden = 6, vocab = 5000; // 10.5 M logits: three blocks
  at::manual_seed(1);
  const auto h = at::randn({rows, hidden}, at::kDouble).requires_grad_();
  model::linear_weight head{at::randn({vocab, hidden}, at::kDouble).requires_grad_(), {}, nullptr};
  const auto row = at::cat({at::arange(rows, at::kLong), at::full({3}, 5, at::kLong)});
  const auto target = at::randint(vocab, {rows + 3}, at::kLong);
  target[rows] = target[5]; // two answers that begin alike
  const auto log_softmax = (h.matmul(head.weight.t()) / 1.3).log_softmax(-1);
  const auto want = log_softmax.index({row, target});
  const auto got = model::token_logprob(h, head, row, target, 1.3);
  CHECK(largest_difference(got.logprob, want) < double_tolerance);
  const auto entropy = -(log_softmax.exp() * log_softmax).sum(1).index_select(0, row);
  CHECK(largest_difference(got.entropy, entropy) < double_tolerance);

  const auto weigh = at::randn_like(want);
  const auto want_gradients = torch::autograd::grad({(want * weigh).sum()}, {h, head.weight}, {}, true);
  const auto got_gradients = torch::autograd::grad({(got.logprob * weigh).sum()}, {h, head.weight});
  CHECK(largest_difference(got_gradients[0], want_gradients[0]) < double_tolerance);
  CHECK(largest_difference(got_gradients[1], want_gradients[1]) < double_tolerance);

  // The entropy is differentiable, alone and beside the log-probabilities.
  const auto fresh = model::token_logprob(h, head, row, target, 1.3);
  const auto entropy_again = -(log_softmax.exp() * log_softmax).sum(1).index_select(0, row);
  const auto other = at::randn_like(want);
  const auto want_of_entropy = torch::autograd::grad({(entropy_again * other).sum()}, {h, head.weight}, {}, true);
  const auto got_of_entropy = torch::autograd::grad({(fresh.entropy * other).sum()}, {h, head.weight}, {}, true);
  const auto got_of_both =
      torch::autograd::grad({(fresh.entropy * other + fresh.logprob * weigh).sum()}, {h, head.weight});
  for (const std::size_t i : {0, 1}) {
    CHECK(largest_difference(got_of_entropy[i], want_of_entropy[i]) < double_tolerance);
    CHECK(largest_difference(got_of_both[i], want_of_entropy[i] + want_gradients[i]) < double_tolerance);
  }
}

TEST_CASE("token log-probabilities stay finite for logits of a thousand") {
  const auto h = at::tensor({1000.0, -1000.0}, at::kFloat).view({2, 1});
  const model::linear_weight head{at::tensor({1.0, 0.0, -1.0}, at::kFloat).view({3, 1}), {}, nullptr};
  const auto got = model::token_logprob(h, head, at::tensor({0, 0, 1}, at::kLong), at::tensor({0, 1, 2}, at::kLong), 1);
  CHECK(largest_difference(got.logprob, at::tensor({0.f, -1000.f, 0.f})) == 0);
  CHECK(got.entropy.abs().max().item<float>() == 0);
}

TEST_CASE("scoring equals the plain log-probabilities, answer by answer") {
  const auto config = tiny_config("llama");
  const auto w = random_weights(config, 5, at::kFloat, false);
  const auto groups = two_groups();
  const auto got = model::score_answers(model::decoder(config, w), groups[0].prompt, groups[0].answers, 1);
  const auto want = plain_logprob(config, w, {groups[0]}, 1);
  REQUIRE(got.size() == 4);
  CHECK(got[2].empty());
  std::int64_t n = 0;
  for (const auto& answer : got)
    for (const float logprob : answer)
      CHECK(std::abs(logprob - want[n++].item<float>()) < float_tolerance);
  CHECK(n == want.size(0));
}

} // namespace training_operations_test
