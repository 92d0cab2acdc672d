#include "runtime/train/optimizer.hpp"

#include <ATen/ATen.h>

#include <doctest/doctest.h>

#include <cmath>
#include <stdexcept>

using namespace millrace;
using namespace millrace::train;

namespace {

model::weights one(const at::Tensor& value) {
  at::Tensor leaf = value.clone().requires_grad_();
  leaf.mutable_grad() = at::zeros_like(value);
  return {{"p", leaf}};
}

} // namespace

TEST_CASE("the learning rate warms up, decays and stays at its end") {
  optimizer_options o;
  o.lr = 1;
  o.warmup_steps = 3;
  o.schedule = decay::linear;
  o.total_steps = 7;
  o.final_lr_fraction = 0.5;
  const double want[] = {0.25, 0.5, 0.75, 1, 0.875, 0.75, 0.625, 0.5, 0.5};
  for (int i = 0; i < 9; ++i)
    CHECK(learning_rate(o, i) == doctest::Approx(want[i]).epsilon(1e-12));
  o.schedule = decay::cosine;
  CHECK(learning_rate(o, 5) == doctest::Approx(0.75).epsilon(1e-12)); // half way
  CHECK(learning_rate(o, 7) == doctest::Approx(0.5).epsilon(1e-12));
  o.schedule = decay::constant;
  CHECK(learning_rate(o, 100) == 1);
}

TEST_CASE("the first AdamW step moves by the learning rate against the sign, after decay") {
  optimizer_options o;
  o.lr = 0.1;
  o.weight_decay = 0.5;
  auto w = one(at::tensor({2.0f, -4.0f}).view({1, 2}));
  w[0].tensor.grad().copy_(at::tensor({3.0f, -0.01f}).view({1, 2}));
  adamw optimizer(w, o);
  CHECK(optimizer.step(1) == 0.1);
  // 2 (1 - 0.05) - 0.1 and -4 (1 - 0.05) + 0.1
  CHECK((w[0].tensor.detach() - at::tensor({1.8f, -3.7f}).view({1, 2})).abs().max().item<float>() < 1e-5);
}

TEST_CASE("norms and biases do not decay") {
  optimizer_options o;
  o.lr = 0.1;
  o.weight_decay = 0.5;
  auto w = one(at::tensor({2.0f}));
  adamw optimizer(w, o);
  optimizer.step(1);
  CHECK(w[0].tensor.item<float>() == 2);
}

TEST_CASE("AdamW over many steps equals its formula in double") {
  optimizer_options o;
  o.lr = 0.01;
  o.beta1 = 0.8;
  o.beta2 = 0.95;
  o.weight_decay = 0.1;
  at::manual_seed(1);
  auto w = one(at::randn({4, 5}));
  at::Tensor p = w[0].tensor.detach().to(at::kDouble), m = at::zeros_like(p), v = at::zeros_like(p);
  adamw optimizer(w, o);
  for (int t = 1; t <= 100; ++t) {
    const at::Tensor g = at::randn({4, 5});
    w[0].tensor.grad().copy_(g);
    const double scale = t % 2 ? 1 : 0.25;
    optimizer.step(scale);
    const at::Tensor d = g.to(at::kDouble) * scale;
    m = o.beta1 * m + (1 - o.beta1) * d;
    v = o.beta2 * v + (1 - o.beta2) * d * d;
    p = p * (1 - o.lr * o.weight_decay) -
        o.lr * (m / (1 - std::pow(o.beta1, t))) / ((v / (1 - std::pow(o.beta2, t))).sqrt() + o.eps);
  }
  CHECK((w[0].tensor.detach() - p).abs().max().item<double>() < 1e-5);
}

TEST_CASE("the gradient's norm is that of all tensors together") {
  model::weights w = one(at::zeros({2, 2}));
  w.push_back(one(at::zeros({1}))[0]);
  w[0].tensor.grad().fill_(1);
  w[1].tensor.grad().fill_(std::sqrt(5.0f));
  CHECK(adamw(w, {}).gradient_norm() == doctest::Approx(3).epsilon(1e-6));
}

TEST_CASE("options out of range are refused by name") {
  optimizer_options o;
  o.beta2 = 1;
  CHECK_THROWS_WITH_AS(adamw({}, o), doctest::Contains("optimizer.beta2"), std::invalid_argument);
  o = {};
  o.schedule = decay::cosine;
  CHECK_THROWS_WITH_AS(adamw({}, o), doctest::Contains("optimizer.total_steps"), std::invalid_argument);
}
