#include "runtime/columns/weights_bundle.hpp"

#include <ATen/ops/arange.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <doctest/doctest.h>

#include <memory>
#include <stdexcept>
#include <vector>

namespace weights_bundle_test {

using namespace millrace;
using namespace millrace::columns;

TEST_CASE("a snapshot of weights does not change when its source goes on changing") {
  const at::Tensor source = at::arange(6, at::kFloat).reshape({2, 3});
  const auto snapshot = columns::bundle_of({{"w", source}});
  source.fill_(-1);
  const auto values = snapshot.view<float>("w");
  CHECK(std::vector<float>(values.begin(), values.end()) == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(snapshot.at("w").spec.shape == std::vector<std::int64_t>{2, 3});
}

TEST_CASE("a snapshot of weights that are not contiguous or not fp32 holds their values as fp32") {
  const at::Tensor turned = at::arange(6, at::kFloat).reshape({2, 3}).t();
  const auto snapshot = columns::bundle_of({{"half", turned.to(at::kBFloat16)}, {"turned", turned}});
  const auto values = snapshot.view<float>("turned");
  CHECK(std::vector<float>(values.begin(), values.end()) == std::vector<float>{0, 3, 1, 4, 2, 5});
  CHECK(snapshot.at("half").spec.type == dtype::f32);
}

TEST_CASE(
    "a snapshot in bfloat16 has half the bytes, every number the nearest one; weights made of it are its memory") {
  const at::Tensor source = at::tensor({1.0f, 1 + 1.0f / 256, 1 + 3.0f / 256, -0.1f});
  const auto snapshot = columns::bundle_of({{"w", source}}, precision::bfloat16);
  CHECK(snapshot.at("w").spec.type == dtype::bf16);
  CHECK(snapshot.at("w").bytes.size() == 8);
  const auto weights = columns::weights_of(snapshot);
  CHECK(weights.at(0).tensor.data_ptr() == snapshot.at("w").bytes.data());
  CHECK(at::equal(weights.at(0).tensor.to(at::kFloat), at::tensor({1.0f, 1.0f, 1 + 2.0f / 128, -0.10009765625f})));
}

TEST_CASE("weights made of a bundle are its memory and keep it alive") {
  auto snapshot = columns::bundle_of({{"w", at::full({4}, 2.5)}});
  const void* memory = snapshot.at("w").bytes.data();
  auto weights = columns::weights_of(snapshot);
  CHECK(weights.at(0).tensor.data_ptr() == memory);
  const std::weak_ptr<const void> owner = snapshot.owner();
  snapshot = {};
  CHECK(!owner.expired());
  CHECK(at::equal(weights.at(0).tensor, at::full({4}, 2.5f)));
  weights.clear();
  CHECK(owner.expired());
  const std::vector<std::int32_t> whole{1, 2};
  CHECK_THROWS_AS(columns::weights_of(transport::bundle_builder().add<std::int32_t>("w", whole).finish()),
                  std::invalid_argument);
}

namespace {

transport::bundle share_of(std::initializer_list<std::pair<const char*, std::vector<float>>> pieces) {
  model::weights own;
  for (const auto& [name, numbers] : pieces)
    own.push_back({name, at::tensor(numbers)});
  return columns::bundle_of(own);
}

} // namespace

TEST_CASE("weights made of the shares of ranks are the tensors that the pieces make up") {
  columns::pulled_weights pulled{.shares = {share_of({{"a", {0, 1}}, {"b", {6}}}), share_of({{"a", {2, 3, 4}}}),
                                            share_of({{"a", {5}}, {"b", {7}}})},
                                 .whole = {{"a", dtype::f32, {2, 3}}, {"b", dtype::f32, {2}}}};
  const auto weights = columns::weights_of(pulled);
  REQUIRE(weights.size() == 2);
  CHECK(weights[0].name == "a");
  CHECK(at::equal(weights[0].tensor, at::arange(6, at::kFloat).view({2, 3})));
  CHECK(at::equal(weights[1].tensor, at::tensor({6.0f, 7.0f})));
  pulled.whole[1].shape = {3};
  CHECK_THROWS_WITH_AS(columns::weights_of(pulled), "weights: the shares have 8 bytes of b: f32 [3]",
                       std::invalid_argument);
  pulled.whole[1].shape = {1};
  CHECK_THROWS_WITH_AS(columns::weights_of(pulled), "weights: a share has b: f32 [1], which is no piece of b: f32 [1]",
                       std::invalid_argument);
}

} // namespace weights_bundle_test
