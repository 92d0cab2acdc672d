#include "runtime/columns/weights_bundle.hpp"
#include "runtime/columns/weights_delta.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <cstring>
#include <random>

namespace weights_delta_test {

using namespace millrace;

namespace {

model::weights some_weights(std::uint64_t seed) {
  at::manual_seed(seed);
  return {{"a", at::randn({37, 11})}, {"b", at::randn({5})}, {"c", at::randn({64, 33})}, {"none", at::randn({0})}};
}

bool equal_bits(const transport::bundle& a, const transport::bundle& b) {
  if (a.layout() != b.layout())
    return false;
  for (std::size_t i = 0; i < a.columns().size(); ++i)
    if (const auto x = a.columns()[i].bytes, y = b.columns()[i].bytes;
        x.size() != y.size() || (!x.empty() && std::memcmp(x.data(), y.data(), x.size()) != 0))
      return false;
  return true;
}

transport::bundle delta_with(const std::vector<std::int64_t>& changed, const std::vector<std::uint8_t>& gaps,
                             const std::vector<std::uint8_t>& values) {
  return transport::bundle_builder()
      .add<std::int64_t>("changed", changed)
      .add<std::uint8_t>("gaps", gaps)
      .add<std::uint8_t>("values", values)
      .finish();
}

} // namespace

TEST_CASE("weights delta: the numbers that differ and where they stand, in as many bytes as one writes by hand") {
  const model::weights before{{"w", at::zeros({300})}};
  const model::weights after{{"w", at::zeros({300})}};
  after[0].tensor[2] = 1;
  after[0].tensor[3] = -1;
  after[0].tensor[204] = 2;
  const auto old = columns::bundle_of(before, precision::bfloat16),
             now = columns::bundle_of(after, precision::bfloat16);
  const auto delta = columns::delta_of(old, now).value();
  CHECK(delta.view<std::int64_t>("changed")[0] == 3);
  const auto gaps = delta.view<std::uint8_t>("gaps");
  CHECK(std::vector(gaps.begin(), gaps.end()) == std::vector<std::uint8_t>{2, 0, 200 - 128 + 128, 1}); // 200 = 72 + 128
  const auto values = delta.view<std::uint8_t>("values");
  CHECK(std::vector(values.begin(), values.end()) == std::vector<std::uint8_t>{0x80, 0x3F, 0x80, 0xBF, 0x00, 0x40});
  CHECK(equal_bits(columns::patched(old, delta), now));
}

TEST_CASE("weights delta: what it leads to is the version bit for bit, however much has changed") {
  std::mt19937_64 random(3);
  std::size_t whole = 0, changes = 0;
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    CAPTURE(seed);
    const auto sent = seed % 2 == 0 ? precision::bfloat16 : precision::float32;
    const auto before = some_weights(seed);
    auto after = some_weights(seed);
    const auto odds = std::vector<std::uint64_t>{1, 2, 10, 100, 100000}[seed % 5];
    for (auto& one : after)
      for (std::int64_t i = 0; i < one.tensor.numel(); ++i)
        if (random() % odds == 0)
          one.tensor.view(-1)[i] = i % 7 == 0 ? std::numeric_limits<float>::quiet_NaN() : static_cast<float>(i);
    const auto old = columns::bundle_of(before, sent), now = columns::bundle_of(after, sent);
    const auto delta = columns::delta_of(old, now);
    (delta ? changes : whole) += 1;
    if (delta) {
      CHECK(delta->bytes() <= now.bytes() / 2 + 8 * 4);
      CHECK(equal_bits(columns::patched(old, *delta), now));
    }
    CHECK(equal_bits(columns::patched(old, columns::delta_of(old, now, 10).value()), now));
  }
  CHECK(whole > 10);
  CHECK(changes > 10);
}

TEST_CASE("weights delta: none of other tensors, and one that does not fit is refused") {
  const auto a = columns::bundle_of(some_weights(1)), wide = columns::bundle_of({{"a", at::zeros({4})}});
  CHECK(!columns::delta_of(a, wide));
  CHECK(!columns::delta_of(a, columns::bundle_of(some_weights(1), precision::bfloat16)));
  const std::vector<std::uint8_t> number(4, 1);
  CHECK(columns::patched(wide, delta_with({1}, {3}, number)).bytes() == 16);
  CHECK_THROWS_WITH_AS(columns::patched(wide, delta_with({1}, {4}, number)),
                       "weights: a delta changes more numbers than a: f32 [4] has", std::invalid_argument);
  CHECK_THROWS_AS(columns::patched(wide, delta_with({2}, {3, 0}, std::vector<std::uint8_t>(8))), std::invalid_argument);
  CHECK_THROWS_AS(columns::patched(wide, delta_with({1}, {0}, {1, 1})), std::invalid_argument);
  CHECK_THROWS_AS(columns::patched(wide, delta_with({1}, {0x80}, number)), std::invalid_argument);
  CHECK_THROWS_AS(columns::patched(wide, delta_with({1}, std::vector<std::uint8_t>(20, 0xFF), number)),
                  std::invalid_argument);
  CHECK_THROWS_AS(columns::patched(wide, delta_with({0}, {1}, {})), std::invalid_argument);
  CHECK_THROWS_AS(columns::patched(wide, delta_with({1, 0}, {0}, number)), std::invalid_argument);
  CHECK_THROWS_AS(columns::patched(wide, delta_with({-1}, {}, {})), std::invalid_argument);
}

} // namespace weights_delta_test
