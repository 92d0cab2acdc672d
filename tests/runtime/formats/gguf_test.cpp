#include "runtime/formats/gguf.hpp"
#include "runtime/formats/gguf_blocks.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/mutations.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace gguf_test {

namespace {

using namespace millrace;
using formats::gguf_file;
using tests::temporary_folder;

/// Writes a GGUF field by field.
class gguf_bytes {
public:
  template <class T>
  gguf_bytes& put(T value) {
    text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    return *this;
  }

  gguf_bytes& u32(std::uint32_t value) { return put(value); }

  gguf_bytes& u64(std::uint64_t value) { return put(value); }

  gguf_bytes& text(std::string_view value) {
    u64(value.size());
    text_ += value;
    return *this;
  }

  gguf_bytes& raw(std::string_view value) {
    text_ += value;
    return *this;
  }

  gguf_bytes& head(std::uint64_t tensors, std::uint64_t keys, std::uint32_t version = 3) {
    return raw("GGUF").u32(version).u64(tensors).u64(keys);
  }

  gguf_bytes& tensor(std::string_view name, std::vector<std::uint64_t> sizes, std::uint32_t type,
                     std::uint64_t offset) {
    text(name).u32(static_cast<std::uint32_t>(sizes.size()));
    for (const auto size : sizes)
      u64(size);
    return u32(type).u64(offset);
  }

  gguf_bytes& align(std::size_t unit = 32) {
    text_.resize((text_.size() + unit - 1) / unit * unit, '\0');
    return *this;
  }

  const std::string& bytes() const { return text_; }

private:
  std::string text_;
};

void check_refused(const gguf_bytes& bytes, std::string_view why, formats::gguf_limits limits = {}) {
  const temporary_folder folder;
  tests::write_file(folder / "m.gguf", bytes.bytes());
  std::string error;
  try {
    gguf_file file(folder / "m.gguf", limits);
  } catch (const input_error& failure) {
    error = failure.what();
  }
  INFO("error: ", error);
  CHECK(error.find(why) != std::string::npos);
  CHECK(error.find('\n') == std::string::npos);
}

/// One of each type of value, and two tensors with padding between them.
gguf_bytes valid_file() {
  gguf_bytes b;
  b.head(2, 15);
  b.text("u8").u32(0).put(std::uint8_t{200});
  b.text("i8").u32(1).put(std::int8_t{-3});
  b.text("u16").u32(2).put(std::uint16_t{60000});
  b.text("i16").u32(3).put(std::int16_t{-300});
  b.text("u32").u32(4).put(std::uint32_t{4000000000});
  b.text("i32").u32(5).put(std::int32_t{-70000});
  b.text("f32").u32(6).put(1.5f);
  b.text("bool").u32(7).put(std::uint8_t{1});
  b.text("string").u32(8).text("text");
  b.text("u64").u32(10).u64(1ull << 63);
  b.text("i64").u32(11).put(std::int64_t{-5});
  b.text("f64").u32(12).put(0.25);
  b.text("texts").u32(9).u32(8).u64(2).text("a").text("b");
  b.text("ints").u32(9).u32(1).u64(3).put(std::int8_t{1}).put(std::int8_t{-2}).put(std::int8_t{3});
  b.text("nested").u32(9).u32(9).u64(1).u32(6).u64(1).put(2.0f);
  b.tensor("w", {3, 2}, 0, 0);
  b.tensor("h", {2}, 1, 32);
  b.align();
  for (float x : {1.0f, 2.0f, 3.0f, 4.0f, 5.0f, 6.0f})
    b.put(x);
  b.align();
  return b.raw(std::string("\x00\x3c\x00\xc0", 4)); // fp16 1, -2
}

/// What lies in `bytes`, of one type.
template <class T>
std::vector<T> numbers(std::span<const std::byte> bytes) {
  std::vector<T> out(bytes.size() / sizeof(T));
  std::memcpy(out.data(), bytes.data(), out.size() * sizeof(T));
  return out;
}

} // namespace

TEST_CASE("gguf: values of every type and tensors outermost first") {
  const temporary_folder folder;
  tests::write_file(folder / "m.gguf", valid_file().bytes());
  const gguf_file file(folder / "m.gguf");
  CHECK(file.integer("u8") == 200);
  CHECK(file.integer("i8") == -3);
  CHECK(file.integer("u16") == 60000);
  CHECK(file.integer("i16") == -300);
  CHECK(file.integer("u32") == 4000000000);
  CHECK(file.integer("i32") == -70000);
  CHECK(file.integer("i64") == -5);
  CHECK(file.number("f32") == 1.5);
  CHECK(file.number("f64") == 0.25);
  CHECK(file.flag("bool") == true);
  CHECK(*file.text("string") == "text");
  CHECK(*file.texts("texts") == std::vector<std::string>{"a", "b"});
  CHECK(*file.integers("ints") == std::vector<std::int64_t>{1, -2, 3});
  CHECK_FALSE(file.integer("none"));
  CHECK(file.text("none") == nullptr);
  CHECK_THROWS_WITH_AS(file.integer("u64"), doctest::Contains("9223372036854775808"), input_error);
  CHECK_THROWS_WITH_AS(file.integer("string"), doctest::Contains("want an integer"), input_error);

  REQUIRE(file.find("w") != nullptr);
  CHECK(file.find("w")->kind == formats::storage::f32);
  CHECK(file.find("w")->shape == std::vector<std::int64_t>{2, 3});
  CHECK(numbers<float>(file.find("w")->bytes) == std::vector<float>{1, 2, 3, 4, 5, 6});
  CHECK(file.find("h")->kind == formats::storage::f16);
  CHECK(file.find("h")->shape == std::vector<std::int64_t>{2});
  const auto halves = numbers<std::uint16_t>(file.find("h")->bytes);
  REQUIRE(halves.size() == 2);
  CHECK(formats::half_to_float(halves[0]) == 1.0f);
  CHECK(formats::half_to_float(halves[1]) == -2.0f);
  CHECK(file.find("x") == nullptr);
}

TEST_CASE("gguf: a half is the number that its bits say, exactly") {
  using formats::half_to_float;
  CHECK(half_to_float(0x3555) == 1365.0f / 4096);
  CHECK(half_to_float(0x7bff) == 65504.0f);
  CHECK(half_to_float(0x0400) == std::ldexp(1.0f, -14)); // the smallest normal
  CHECK(half_to_float(0x0001) == std::ldexp(1.0f, -24)); // the smallest subnormal
  CHECK(half_to_float(0x83ff) == -std::ldexp(1023.0f, -24));
  CHECK(std::bit_cast<std::uint32_t>(half_to_float(0x8000)) == 0x80000000u);
  CHECK(half_to_float(0x7c00) == std::numeric_limits<float>::infinity());
  CHECK(half_to_float(0xfc00) == -std::numeric_limits<float>::infinity());
  CHECK(std::isnan(half_to_float(0x7e00)));
}

TEST_CASE("gguf: a block by hand") {
  // d = 0.5, m = -1; byte i holds i in its low half and 15 - i in its high half.
  std::string block("\x00\x38\x00\xbc", 4);
  for (int i = 0; i < 16; ++i)
    block += static_cast<char>(i | (15 - i) << 4);
  float x[32];
  formats::dequantise_q4_1(reinterpret_cast<const std::byte*>(block.data()), 1, x);
  for (int i = 0; i < 16; ++i) {
    CHECK(x[i] == 0.5f * static_cast<float>(i) - 1);
    CHECK(x[16 + i] == 0.5f * static_cast<float>(15 - i) - 1);
  }
}

TEST_CASE("gguf: blocks of every kind have the bits that the gguf package gives them") {
  // Made by tests/golden/make_models.py.
  const auto golden = nlohmann::json::parse(tests::read_file("tests/golden/models/gguf/blocks.json"));
  const auto check = [&](const char* name, void (*dequantise)(const std::byte*, std::int64_t, float*)) {
    const std::string hex = golden[name]["bytes"];
    std::string bytes;
    for (std::size_t i = 0; i < hex.size(); i += 2)
      bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
    const auto bits = golden[name]["float_bits"].get<std::vector<std::uint32_t>>();
    std::vector<float> x(bits.size());
    dequantise(reinterpret_cast<const std::byte*>(bytes.data()), static_cast<std::int64_t>(x.size()) / 32, x.data());
    for (std::size_t i = 0; i < x.size(); ++i)
      REQUIRE(std::bit_cast<std::uint32_t>(x[i]) == bits[i]);
  };
  check("Q8_0", formats::dequantise_q8_0);
  check("Q4_0", formats::dequantise_q4_0);
  check("Q4_1", formats::dequantise_q4_1);
}

TEST_CASE("gguf: every malformed file is refused with its reason") {
  using b = gguf_bytes;
  SUBCASE("the head") {
    check_refused(b(), "not a GGUF file");
    check_refused(b().raw("GGML"), "not a GGUF file");
    check_refused(b().raw("GGUF"), "truncated");
    check_refused(b().head(0, 0, 1), "version 1, want 2 or 3");
    check_refused(b().head(0, 0, 0x03000000), "big-endian");
    check_refused(b().head(~0ull, 0), "want at most");
    check_refused(b().head(0, ~0ull), "want at most");
    check_refused(b().head(1, 0), "truncated");
  }
  SUBCASE("a value") {
    check_refused(b().head(0, 1).text("k").u32(13), "value type 13");
    check_refused(b().head(0, 1).text("k").u32(7).put(std::uint8_t{2}), "bool of value 2");
    check_refused(b().head(0, 1).u64(1ull << 63), "string of 9223372036854775808");
    check_refused(b().head(0, 1).u64(1000).raw("k"), "truncated");
    check_refused(b().head(0, 1).text("k").u32(9).u32(4).u64(1ull << 62), "array of 4611686018427387904");
    check_refused(b().head(0, 1).text("k").u32(9).u32(4).u64(1 << 20), "truncated");
    check_refused(b().head(0, 1).text("k").u32(9).u32(8).u64(2).text("a"), "truncated");
    b deep;
    deep.head(0, 1).text("k").u32(9);
    for (int i = 0; i < 100'000; ++i)
      deep.u32(9).u64(1);
    check_refused(deep, "nested deeper");
    check_refused(b().head(0, 2).text("k").u32(7).put(std::uint8_t{1}).text("k").u32(7).put(std::uint8_t{1}),
                  "stands twice");
    check_refused(b().head(0, 1).text("general.alignment").u32(4).u32(0), "general.alignment");
    check_refused(b().head(0, 1).text("general.alignment").u32(8).text("x"), "want an integer");
  }
  SUBCASE("a tensor") {
    check_refused(b().head(1, 0).tensor("t", {1, 1, 1, 1, 1}, 0, 0), "5 dimensions");
    check_refused(b().head(1, 0).tensor("t", {1ull << 40, 1ull << 40}, 0, 0), "overflows");
    check_refused(b().head(1, 0).tensor("t", {~0ull}, 0, 0), "dimension of");
    check_refused(b().head(1, 0).tensor("t", {256}, 12, 0), "type Q4_K");
    check_refused(b().head(1, 0).tensor("t", {256}, 999, 0), "type 999");
    check_refused(b().head(1, 0).tensor("t", {33}, 8, 0), "whole blocks");
    check_refused(b().head(1, 0).tensor("t", {1}, 0, 0).align(), "truncated");
    check_refused(b().head(1, 0).tensor("t", {1}, 0, 4).align().u64(0), "multiple of 32");
    check_refused(b().head(1, 0).tensor("t", {1}, 0, ~0ull - 31).align().u64(0), "truncated");
    check_refused(b().head(2, 0).tensor("a", {2}, 0, 0).tensor("b", {2}, 0, 0).align().u64(0), "shares bytes");
    check_refused(b().head(2, 0).tensor("a", {1}, 0, 0).tensor("a", {1}, 0, 32).align().raw(std::string(64, '\0')),
                  "stands twice");
  }
}

TEST_CASE("gguf: injured files are refused or read, never more") {
  const temporary_folder folder;
  const int refused = tests::refused_of(valid_file().bytes(), 4000, [&](const std::string& bytes) {
    tests::write_file(folder / "x.gguf", bytes);
    const gguf_file file(folder / "x.gguf");
    for (const auto& tensor : file.tensors())
      CHECK(formats::storage_bytes(tensor.kind, tensor.shape) == static_cast<std::int64_t>(tensor.bytes.size()));
  });
  CHECK(refused > 2000);
}

} // namespace gguf_test
