#include "runtime/formats/gguf_blocks.hpp"
#include "runtime/formats/safetensors.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/model/weights_file.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/ATen.h>
#include <c10/util/Half.h>
#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <stdexcept>

namespace weights_file_test {

namespace {

using namespace millrace;
using formats::safetensors_file;
using tests::temporary_folder;

at::Tensor tensor_of(const safetensors_file& file, std::string_view name) {
  REQUIRE(file.find(name) != nullptr);
  return model::to_float32(*file.find(name));
}

/// A view of plain bytes.
formats::stored_tensor stored(formats::storage kind, std::vector<std::int64_t> shape, std::string_view bytes) {
  return {"t", kind, std::move(shape), std::as_bytes(std::span(bytes))};
}

} // namespace

TEST_CASE("weights file: a file of one number is these bytes") {
  const temporary_folder folder;
  const model::weights one{{"a", at::ones({1})}};
  model::write_safetensors(folder / "a.safetensors", one, precision::float32, {});
  std::string bytes = R"(________{"a":{"data_offsets":[0,4],"dtype":"F32","shape":[1]}}  )";
  bytes.replace(0, 8, std::string("\x38\0\0\0\0\0\0\0", 8));
  CHECK(tests::read_file(folder / "a.safetensors") == bytes + std::string("\x00\x00\x80\x3f", 4));
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("weights file: what is written is read back, whatever the shape") {
  const temporary_folder folder;
  at::manual_seed(1);
  const model::weights parameters{{"empty", at::empty({0, 7})},
                                  {"matrix", at::randn({3, 5}).t()},
                                  {"scalar", at::full({}, 2.5)},
                                  {"v", at::randn({9})}};
  model::write_safetensors(folder / "m.safetensors", parameters);
  const safetensors_file file(folder / "m.safetensors");
  REQUIRE(file.tensors().size() == parameters.size());
  for (const auto& [name, tensor] : parameters)
    CHECK(at::equal(tensor_of(file, name), tensor));
  CHECK(file.find("other") == nullptr);
  CHECK(file.metadata() == std::map<std::string, std::string>{{"format", "pt"}});
}

TEST_CASE("weights file: bfloat16 rounds to nearest, ties to even") {
  const temporary_folder folder;
  const float ulp = 1.0f / 128; // of bfloat16 at 1
  const model::weights parameters{{"x", at::tensor({1 + 0.5f * ulp, 1 + 1.5f * ulp, 1 + 0.6f * ulp, -3.0f})}};
  model::write_safetensors(folder / "m.safetensors", parameters, precision::bfloat16);
  const safetensors_file file(folder / "m.safetensors");
  CHECK(file.find("x")->bytes.size() == 8);
  CHECK(at::equal(tensor_of(file, "x"), at::tensor({1.0f, 1 + 2 * ulp, 1 + ulp, -3.0f})));
}

TEST_CASE("float tensors: half, double and bfloat16 become the fp32 they stand for") {
  using formats::storage;
  const double half = 0.5;
  const auto value = [](storage kind, std::string_view bytes) {
    return model::to_float32(stored(kind, {1}, bytes)).item<float>();
  };
  CHECK(value(storage::f64, {reinterpret_cast<const char*>(&half), 8}) == 0.5f);
  CHECK(value(storage::f16, {"\x00\xc0", 2}) == -2.0f);
  CHECK(value(storage::bf16, {"\x40\x40", 2}) == 3.0f);
}

TEST_CASE("float tensors: integers are views, not weights") {
  CHECK_THROWS_AS(model::to_float32(stored(formats::storage::i32, {1}, "abcd")), std::invalid_argument);
}

TEST_CASE("float tensors: blocks keep the shape and are what their scale and quants say") {
  std::string block("\x00\x38", 2); // d = 0.5
  for (int i = 0; i < 32; ++i)
    block += static_cast<char>(i - 16);
  const at::Tensor x = model::to_float32(stored(formats::storage::q8_0, {2, 32}, block + block));
  CHECK(at::equal(x, ((at::arange(32, at::kFloat) - 16) * 0.5).expand({2, 32})));
}

TEST_CASE("float tensors: every half that there is has LibTorch's value") {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float want = static_cast<float>(c10::Half(half, c10::Half::from_bits()));
    const float found = formats::half_to_float(half);
    if (std::isnan(want))
      REQUIRE(std::isnan(found));
    else
      REQUIRE(std::bit_cast<std::uint32_t>(found) == std::bit_cast<std::uint32_t>(want));
  }
}

} // namespace weights_file_test
