#include "runtime/train/optimizer.hpp"
#include "runtime/train/whole_parameters.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <stdexcept>

namespace optimizer_test {

using namespace millrace;
using namespace millrace::train;

namespace {

model::weights one(const at::Tensor& value) {
  return {{"p", value.clone().requires_grad_()}};
}

/// Whole parameters with their gradients, zeros at first.
std::vector<updated_piece> updates_of(const model::weights& w) {
  std::vector<updated_piece> all;
  for (std::size_t i = 0; i < w.size(); ++i) {
    at::Tensor p = w[i].tensor;
    if (!p.grad().defined())
      p.mutable_grad() = at::zeros_like(p.detach());
    all.push_back({{i, 0, p.numel()}, p.detach(), p.grad()});
  }
  return all;
}

adamw optimizer_of(const model::weights& w, const optimizer_options& o) {
  return {w, o, updates_of(w)};
}

} // namespace

TEST_CASE("the first AdamW step moves by the learning rate against the sign, after decay") {
  optimizer_options o;
  o.lr = 0.1;
  o.weight_decay = 0.5;
  auto w = one(at::tensor({2.0f, -4.0f}).view({1, 2}));
  auto optimizer = optimizer_of(w, o);
  w[0].tensor.grad().copy_(at::tensor({3.0f, -0.01f}).view({1, 2}));
  CHECK(optimizer.step(1, 0, updates_of(w)) == 0.1);
  // 2 (1 - 0.05) - 0.1 and -4 (1 - 0.05) + 0.1
  CHECK((w[0].tensor.detach() - at::tensor({1.8f, -3.7f}).view({1, 2})).abs().max().item<float>() < 1e-5);
}

TEST_CASE("norms and biases do not decay") {
  optimizer_options o;
  o.lr = 0.1;
  o.weight_decay = 0.5;
  auto w = one(at::tensor({2.0f}));
  auto optimizer = optimizer_of(w, o);
  optimizer.step(1, 0, updates_of(w));
  CHECK(w[0].tensor.item<float>() == 2);
  o.decay_norms = true;
  optimizer_of(w, o).step(1, 0, updates_of(w));
  CHECK(w[0].tensor.item<float>() == doctest::Approx(2 * 0.95));
}

TEST_CASE("a group has a learning rate and a decay of its own; the first that matches holds; rate 0 freezes") {
  const auto named = [](const char* name) {
    auto w = one(at::tensor({2.0f, -4.0f}).view({1, 2}));
    w[0].name = name;
    return w[0];
  };
  const model::weights w{named("model.a.weight"), named("model.b.weight"), named("model.embed_tokens.weight")};
  optimizer_options o;
  o.lr = 0.1;
  o.weight_decay = 0.5;
  o.groups = {{"embed", 0.0, {}}, {"^model\\.a", 0.01, 0.0}, {"^model\\.", {}, 1.0}};
  auto optimizer = optimizer_of(w, o);
  for (const auto& parameter : w)
    parameter.tensor.grad().fill_(1);
  CHECK(optimizer.step(1, 0, updates_of(w)) == 0.1);
  const auto value = [&](std::size_t i, int j) { return w[i].tensor.detach().view(-1)[j].item<float>(); };
  CHECK(value(0, 0) == doctest::Approx(2 - 0.01));             // no decay, a tenth of the rate
  CHECK(value(1, 1) == doctest::Approx(-4 * (1 - 0.1) - 0.1)); // twice the decay, the optimizer's rate
  CHECK(value(2, 0) == 2);
  CHECK(optimizer.parameters()[2].name == "model.embed_tokens.weight");
  CHECK(optimizer.first_moments()[2].abs().max().item<float>() == 0);
}

TEST_CASE("AdamW with groups, clipping and a cosine is torch.optim.AdamW") {
  const auto golden = nlohmann::json::parse(std::ifstream("tests/golden/optimizer.json")).at("adamw");
  const std::vector<std::pair<std::string, std::vector<std::int64_t>>> shapes{{"layers.0.proj.weight", {3, 2}},
                                                                              {"layers.0.norm.weight", {4}},
                                                                              {"layers.1.proj.weight", {2, 3}},
                                                                              {"lm_head.weight", {2, 2}}};
  model::weights w;
  const auto filled = [](at::Tensor tensor, auto value) {
    float* at = tensor.data_ptr<float>();
    for (std::int64_t i = 0; i < tensor.numel(); ++i)
      at[i] = static_cast<float>(value(static_cast<double>(i)));
    return tensor;
  };
  for (std::size_t n = 0; n < shapes.size(); ++n) {
    w.push_back({shapes[n].first, one(filled(at::zeros(shapes[n].second),
                                             [&](double i) { return std::cos(static_cast<double>(n) * 5 + i); }))[0]
                                      .tensor});
  }
  optimizer_options o;
  o.lr = 0.01;
  o.beta2 = 0.95;
  o.weight_decay = 0.1;
  o.schedule = decay::cosine;
  o.total_steps = 12;
  o.groups = {{"^lm_head", 0.002, 0.3}};
  whole_parameters held(w);
  adamw optimizer(w, o, held.updates());
  held.end_sum(); // of nothing: zeros
  for (int step = 0; step < 12; ++step) {
    for (std::size_t n = 0; n < w.size(); ++n)
      filled(w[n].tensor.grad(), [&](double i) {
        return std::sin(1 + step * 7 + static_cast<double>(n) * 13 + i) * static_cast<double>(1 + n);
      });
    const double norm = held.norm({held.squares()});
    CHECK(norm == doctest::Approx(golden.at("norms")[static_cast<std::size_t>(step)].get<double>()).epsilon(1e-6));
    optimizer.step(norm > 4 ? 4 / norm : 1, step, held.updates());
  }
  for (const auto& parameter : w) {
    const auto want = golden.at("parameters").at(parameter.name).get<std::vector<double>>();
    CAPTURE(parameter.name);
    CHECK((parameter.tensor.detach().view(-1) - at::tensor(want, at::kDouble)).abs().max().item<double>()
          < 1e-6); // fp32
  }
}

TEST_CASE("a group that matches nothing, or is no pattern, is an error that names it") {
  auto w = one(at::zeros({2, 2}));
  optimizer_options o;
  o.groups = {{"lm_hed", 0.1, {}}};
  CHECK_THROWS_WITH_AS(optimizer_of(w, o), doctest::Contains("optimizer.groups.0.match: found \"lm_hed\""),
                       input_error);
  o.groups = {{"(", 0.1, {}}};
  CHECK_THROWS_WITH_AS(optimizer_of(w, o), doctest::Contains("want a regular expression"), input_error);
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
  auto optimizer = optimizer_of(w, o);
  for (int t = 1; t <= 100; ++t) {
    const at::Tensor g = at::randn({4, 5});
    w[0].tensor.grad().copy_(g);
    const double scale = t % 2 ? 1 : 0.25;
    optimizer.step(scale, t - 1, updates_of(w));
    const at::Tensor d = g.to(at::kDouble) * scale;
    m = o.beta1 * m + (1 - o.beta1) * d;
    v = o.beta2 * v + (1 - o.beta2) * d * d;
    p = p * (1 - o.lr * o.weight_decay)
        - o.lr * (m / (1 - std::pow(o.beta1, t))) / ((v / (1 - std::pow(o.beta2, t))).sqrt() + o.eps);
  }
  CHECK((w[0].tensor.detach() - p).abs().max().item<double>() < 1e-5);
}

TEST_CASE("the gradient's norm is that of all tensors together") {
  model::weights w = one(at::zeros({2, 2}));
  w.push_back(one(at::zeros({1}))[0]);
  whole_parameters held(w);
  held.end_sum(); // of nothing: zeros
  w[0].tensor.grad().fill_(1);
  w[1].tensor.grad().fill_(std::sqrt(5.0f));
  CHECK(held.norm({held.squares()}) == doctest::Approx(3).epsilon(1e-6));
}

TEST_CASE("options out of range are refused by name") {
  optimizer_options o;
  o.beta2 = 1;
  CHECK_THROWS_WITH_AS(optimizer_of({}, o), doctest::Contains("optimizer.beta2"), std::invalid_argument);
  o = {};
  o.schedule = decay::cosine;
  CHECK_THROWS_WITH_AS(optimizer_of({}, o), doctest::Contains("optimizer.total_steps"), std::invalid_argument);
}

} // namespace optimizer_test
