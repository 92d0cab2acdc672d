#include "runtime/transport/bundle.hpp"

#include <doctest/doctest.h>

#include <limits>

namespace bundle_test {

using namespace millrace;
using namespace millrace::transport;

TEST_CASE("a built bundle gives back its columns, each at a multiple of 64 bytes of one block") {
  const std::vector<std::int32_t> tokens{1, 2, 3};
  const std::vector<float> rewards{0.5f};
  const std::vector<std::uint8_t> none;
  const std::vector<std::uint16_t> halves(6, 0x3f80);
  bundle_builder builder;
  builder.add<std::int32_t>("tokens", tokens).add<float>("reward", rewards, {}).add<std::uint8_t>("text", none);
  const bundle b = builder.add<std::uint16_t>("weight", halves, {2, 3}).finish();
  CHECK(b.bytes() == 12 + 4 + 0 + 12);
  CHECK(b.layout()
        == std::vector<tensor_spec>{{"tokens", dtype::i32, {3}},
                                    {"reward", dtype::f32, {}},
                                    {"text", dtype::u8, {0}},
                                    {"weight", dtype::bf16, {2, 3}}});
  const auto seen = b.view<std::int32_t>("tokens");
  CHECK(std::vector(seen.begin(), seen.end()) == tokens);
  CHECK(b.view<float>("reward")[0] == 0.5f);
  CHECK(b.view<std::uint8_t>("text").empty());
  CHECK(b.view<std::uint16_t>("weight").size() == 6);
  REQUIRE(b.block());
  CHECK(b.block()->size() == 128 + 12);
  CHECK(b.at("weight").bytes.data() == b.block()->data() + 128);
  CHECK(reinterpret_cast<std::uintptr_t>(b.block()->data()) % 64 == 0);
  CHECK(b.has("text"));
  CHECK_FALSE(b.has("Text"));
}

TEST_CASE("a part of a bundle is the same memory, in the bundle's order") {
  bundle_builder builder;
  const std::vector<float> one{1}, two{2, 3};
  const bundle b = builder.add<float>("a", one).add<float>("b", two).add<float>("c", one).finish();
  const std::vector<std::size_t> two_of_them{0, 1};
  const bundle part = b.only(two_of_them);
  CHECK(part.layout() == std::vector<tensor_spec>{{"a", dtype::f32, {1}}, {"b", dtype::f32, {2}}});
  CHECK(part.at("b").bytes.data() == b.at("b").bytes.data());
  CHECK(part.owner() == b.owner());
  CHECK_FALSE(part.block());
  const std::vector<std::size_t> all{0, 1, 2};
  CHECK(b.only(all).block());
  CHECK(b.only({}).columns().empty());
}

TEST_CASE("a copy shares the memory, which outlives the original") {
  std::optional<bundle> first = bundle_builder().add<float>("x", std::vector<float>{1, 2}).finish();
  const bundle copy = *first;
  CHECK(copy.view<float>("x").data() == first->view<float>("x").data());
  first.reset();
  CHECK(copy.view<float>("x")[1] == 2);
}

TEST_CASE("a wrong column or type is named") {
  const bundle b = bundle_builder().add<float>("logprob", std::vector<float>(2)).add<float>("reward", {}).finish();
  CHECK_THROWS_WITH_AS(b.at("logprobs"), "column 'logprobs' is not in the bundle, which has: logprob, reward",
                       std::out_of_range);
  CHECK_THROWS_WITH_AS(b.view<std::int32_t>("logprob"), "column logprob: f32 [2]: asked for i32",
                       std::invalid_argument);
}

TEST_CASE("a column that does not fit its shape, or is there twice, is refused") {
  const std::vector<float> two(2);
  CHECK_THROWS_WITH_AS(bundle_builder().add<float>("x", two, {3}).finish(), "x: f32 [3]: wants 12 bytes, got 8",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(bundle_builder().add<float>("x", two).add<float>("x", two).finish(),
                       "column 'x': is there twice", std::invalid_argument);
}

TEST_CASE("hostile layouts are refused, whatever their product overflows to") {
  constexpr auto huge = std::numeric_limits<std::int64_t>::max();
  for (const auto& layout : {std::vector<tensor_spec>{{"x", dtype::f32, {huge}}},
                             {{"x", dtype::u8, {std::int64_t{1} << 32, std::int64_t{1} << 32}}},
                             {{"x", dtype::u8, {-1}}},
                             {{"x", dtype::u8, {0, -1}}},
                             {{"x", static_cast<dtype>(200), {1}}},
                             {{"x", dtype::u8, {huge - 100}}, {"y", dtype::u8, {huge - 100}}}})
    CHECK_THROWS_AS(pack(layout), std::invalid_argument);
  CHECK(pack(std::vector<tensor_spec>{{"x", dtype::f64, {huge, huge, 0}}}).bytes == 0);
}

TEST_CASE("a wrapped bundle is its owner's memory, and has the checksums of a copy") {
  auto values = std::make_shared<std::vector<float>>(std::vector<float>{1, 2, 3, 4});
  const auto bytes = std::as_bytes(std::span(*values));
  const bundle wrapped =
      bundle::wrap({{{"a", dtype::f32, {3}}, bytes.first(12)}, {{"b", dtype::f32, {1}}, bytes.last(4)}}, values);
  CHECK(wrapped.view<float>("b").data() == values->data() + 3);
  CHECK_FALSE(wrapped.block());
  const bundle copied = bundle_builder().add_all(wrapped).finish();
  CHECK(copied.checksums() == wrapped.checksums());
  (*values)[3] = 5;
  CHECK(copied.checksums()[0] == wrapped.checksums()[0]);
  CHECK(copied.checksums()[1] != wrapped.checksums()[1]);
  CHECK(values.use_count() == 2);
}

} // namespace bundle_test
