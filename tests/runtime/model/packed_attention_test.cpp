#include "runtime/model/packed_attention.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <torch/csrc/autograd/autograd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <string>

namespace packed_attention_test {

using namespace millrace;
using model::packed_group;

namespace {

constexpr std::int64_t heads = 6, kv_heads = 2, head_dim = 8;

std::int64_t tokens_in(const std::vector<packed_group>& groups) {
  return model::seen_pieces(groups).fed;
}

/// Queries, keys and values of some tokens.
std::array<at::Tensor, 3> random_inputs(std::int64_t tokens, at::ScalarType type) {
  at::manual_seed(5);
  const auto of = [&](std::int64_t count) { return at::randn({tokens, count, head_dim}, at::kDouble).to(type); };
  return {of(heads), of(kv_heads), of(kv_heads)};
}

using attention = std::function<at::Tensor(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v)>;

attention by_pieces(const std::vector<packed_group>& groups) {
  return [pieces = std::make_shared<model::seen_pieces>(groups)](const auto& q, const auto& k, const auto& v) {
    return model::packed_attention(q, k, v, pieces);
  };
}

attention by_masks(const std::vector<packed_group>& groups) {
  return [masks = model::attention_masks(groups, at::kCPU)](const auto& q, const auto& k, const auto& v) {
    return model::masked_attention(q, k, v, masks);
  };
}

/// Numbers for a gradient of the output.
at::Tensor random_gradient(std::int64_t tokens, at::ScalarType type) {
  at::manual_seed(6);
  return at::randn({tokens, heads * head_dim}, at::kDouble).to(type);
}

/// What comes out, and the gradients of queries, keys and values.
std::array<at::Tensor, 4> there_and_back(const attention& by, const std::array<at::Tensor, 3>& inputs,
                                         const at::Tensor& gradient) {
  std::vector<at::Tensor> leaves;
  for (const auto& input : inputs)
    leaves.push_back(input.detach().clone().requires_grad_());
  const at::Tensor out = by(leaves[0], leaves[1], leaves[2]);
  torch::autograd::backward({out}, {gradient});
  return {out.detach(), leaves[0].grad(), leaves[1].grad(), leaves[2].grad()};
}

double largest_difference(const at::Tensor& a, const at::Tensor& b) {
  return (a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>();
}

const std::vector<std::vector<packed_group>> shapes{
    {{.prompt = 1, .answers = {}}},
    {{.prompt = 7, .answers = {3, 0, 5}}},
    {{.prompt = 1, .answers = {1}}, {.prompt = 40, .answers = {}}, {.prompt = 3, .answers = {0, 0}}},
    {{.prompt = 700, .answers = {600, 1, 33}}, {.prompt = 2, .answers = {520}}}};

} // namespace

TEST_CASE("attention by hand: a token sees its prompt and its own answer up to itself") {
  // Keys are zeros, so a token's output is the mean of the values that it sees: 1, 2 of the prompt; 3, 4 and 8 of
  // two answers.
  const at::Tensor q = at::ones({5, 1, 8}), k = at::zeros({5, 1, 8});
  const at::Tensor v = at::tensor({1., 2., 3., 4., 8.}, at::kFloat).view({5, 1, 1}).expand({5, 1, 8}).contiguous();
  const at::Tensor out = by_pieces({{.prompt = 2, .answers = {2, 1}}})(q, k, v);
  const std::array<double, 5> want{1, 1.5, (1 + 2 + 3) / 3., (1 + 2 + 3 + 4) / 4., (1 + 2 + 8) / 3.};
  for (std::int64_t t = 0; t < 5; ++t)
    CHECK(out[t][0].item<double>() == doctest::Approx(want[static_cast<std::size_t>(t)]));
}

TEST_CASE("attention by pieces is attention by a mask of the square, gradients included") {
  for (const auto& groups : shapes) {
    const auto tokens = tokens_in(groups);
    CAPTURE(tokens);
    for (const auto& [type, tolerance] : {std::pair{at::kDouble, 1e-12}, std::pair{at::kFloat, 2e-5}}) {
      const auto inputs = random_inputs(tokens, type);
      const auto gradient = random_gradient(tokens, type);
      const auto found = there_and_back(by_pieces(groups), inputs, gradient),
                 want = there_and_back(by_masks(groups), inputs, gradient);
      for (std::size_t i = 0; i < found.size(); ++i) {
        CAPTURE(i);
        CHECK((found[i].scalar_type() == type));
        CHECK(largest_difference(found[i], want[i]) < tolerance);
      }
    }
  }
}

TEST_CASE("bfloat16 is rounded once, and summed in fp32") {
  const auto inputs = random_inputs(tokens_in(shapes[1]), at::kBFloat16);
  std::array<at::Tensor, 3> wide;
  std::ranges::transform(inputs, wide.begin(), [](const auto& x) { return x.to(at::kFloat); });
  const auto found = by_pieces(shapes[1])(inputs[0], inputs[1], inputs[2]);
  const auto want = by_pieces(shapes[1])(wide[0], wide[1], wide[2]);
  CHECK(found.equal(want.to(at::kBFloat16)));
}

TEST_CASE("a group's attention and gradients do not depend on the groups beside it, to the bit") {
  const auto& groups = shapes.back();
  const auto inputs = random_inputs(tokens_in(groups), at::kFloat);
  const auto gradient = random_gradient(tokens_in(groups), at::kFloat);
  const auto together = there_and_back(by_pieces(groups), inputs, gradient);
  const auto first = tokens_in({groups[0]});
  std::array<at::Tensor, 3> of_first;
  std::ranges::transform(inputs, of_first.begin(), [&](const auto& x) { return x.narrow(0, 0, first); });
  const auto alone = there_and_back(by_pieces({groups[0]}), of_first, gradient.narrow(0, 0, first));
  for (std::size_t i = 0; i < alone.size(); ++i)
    CHECK(alone[i].equal(together[i].narrow(0, 0, first)));
}

TEST_CASE("tokens that are not the groups' are refused") {
  const auto [q, k, v] = random_inputs(4, at::kFloat);
  const auto three = by_pieces({{.prompt = 3, .answers = {}}});
  try {
    three(q, k, v);
    FAIL("not refused");
  } catch (const c10::Error& refused) {
    CHECK(std::string(refused.what_without_backtrace()) == "attention: groups hold 3 tokens, q has 4");
  }
}

} // namespace packed_attention_test
