#include "runtime/model/safetensors.hpp"

#include "runtime/input_error.hpp"
#include "tests/runtime/model/mutations.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/ATen.h>

#include <doctest/doctest.h>

#include <cstring>

namespace {

using namespace millrace;
using model::safetensors_file;
using tests::temporary_folder;

std::string file_bytes(std::string_view header, std::string_view data) {
  const std::uint64_t length = header.size();
  std::string out(reinterpret_cast<const char*>(&length), sizeof length);
  out.append(header).append(data);
  return out;
}

std::string error_of(const std::string& bytes, model::safetensors_limits limits = {}) {
  const temporary_folder folder;
  tests::write_file(folder / "m.safetensors", bytes);
  try {
    safetensors_file file(folder / "m.safetensors", limits);
  } catch (const input_error& error) {
    std::string line = error.what();
    const std::string path = (folder / "m.safetensors").string();
    CHECK(line.starts_with(path + ":"));
    CHECK(line.find('\n') == std::string::npos);
    return line.substr(path.size());
  }
  return "";
}

void check_refused(const std::string& bytes, std::string_view why, model::safetensors_limits limits = {}) {
  const std::string error = error_of(bytes, limits);
  INFO("error: ", error);
  CHECK(error.find(why) != std::string::npos);
}

at::Tensor tensor_of(const safetensors_file& file, std::string_view name) {
  REQUIRE(file.find(name) != nullptr);
  return model::to_float32(*file.find(name));
}

} // namespace

TEST_CASE("safetensors: a file of one number is these bytes") {
  const temporary_folder folder;
  const model::weights one{{"a", at::ones({1})}};
  model::write_safetensors(folder / "a.safetensors", one, model::saved_dtype::float32, {});
  const std::string header = R"({"a":{"data_offsets":[0,4],"dtype":"F32","shape":[1]}}  )";
  CHECK(header.size() % 8 == 0);
  CHECK(tests::read_file(folder / "a.safetensors") == file_bytes(header, std::string("\x00\x00\x80\x3f", 4)));
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("safetensors: what is written is read back, whatever the shape") {
  const temporary_folder folder;
  at::manual_seed(1);
  const model::weights parameters{
      {"empty", at::empty({0, 7})}, {"matrix", at::randn({3, 5}).t()}, {"scalar", at::full({}, 2.5)}, {"v", at::randn({9})}};
  model::write_safetensors(folder / "m.safetensors", parameters);
  const safetensors_file file(folder / "m.safetensors");
  REQUIRE(file.tensors().size() == parameters.size());
  for (const auto& [name, tensor] : parameters)
    CHECK(at::equal(tensor_of(file, name), tensor));
  CHECK(file.find("other") == nullptr);
  CHECK(file.metadata() == std::map<std::string, std::string>{{"format", "pt"}});
}

TEST_CASE("safetensors: bfloat16 rounds to nearest, ties to even") {
  const temporary_folder folder;
  const float ulp = 1.0f / 128; // of bfloat16 at 1
  const model::weights parameters{{"x", at::tensor({1 + 0.5f * ulp, 1 + 1.5f * ulp, 1 + 0.6f * ulp, -3.0f})}};
  model::write_safetensors(folder / "m.safetensors", parameters, model::saved_dtype::bfloat16);
  const safetensors_file file(folder / "m.safetensors");
  CHECK(file.find("x")->bytes.size() == 8);
  CHECK(at::equal(tensor_of(file, "x"), at::tensor({1.0f, 1 + 2 * ulp, 1 + ulp, -3.0f})));
}

TEST_CASE("safetensors: half, double and bfloat16 become the fp32 they stand for") {
  const temporary_folder folder;
  const std::string header = R"({"b":{"dtype":"BF16","shape":[1],"data_offsets":[10,12]},)"
                             R"("d":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},)"
                             R"("h":{"dtype":"F16","shape":[1],"data_offsets":[8,10]}})";
  const double half = 0.5;
  std::string data(reinterpret_cast<const char*>(&half), 8);
  data += std::string("\x00\xc0", 2); // fp16 -2
  data += std::string("\x40\x40", 2); // bf16 3
  tests::write_file(folder / "m.safetensors", file_bytes(header, data));
  const safetensors_file file(folder / "m.safetensors");
  CHECK(tensor_of(file, "d").item<float>() == 0.5f);
  CHECK(tensor_of(file, "h").item<float>() == -2.0f);
  CHECK(tensor_of(file, "b").item<float>() == 3.0f);
}

TEST_CASE("safetensors: integers are views, not weights") {
  const temporary_folder folder;
  tests::write_file(folder / "m.safetensors",
                    file_bytes(R"({"i":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}})", "abcd"));
  const safetensors_file file(folder / "m.safetensors");
  CHECK(std::memcmp(file.find("i")->bytes.data(), "abcd", 4) == 0);
  CHECK_THROWS_AS(model::to_float32(*file.find("i")), std::invalid_argument);
}

TEST_CASE("safetensors: every malformed file is refused with its reason") {
  const std::string four = "abcd";
  const auto one = [&](std::string_view entry) { return file_bytes("{\"a\":" + std::string(entry) + "}", four); };
  SUBCASE("the length") {
    check_refused("", "truncated");
    check_refused("1234567", "truncated");
    check_refused(std::string(8, '\0'), "does not start with '{'");
    check_refused(std::string("\0\0\0\0\0\0\0\x80{}", 10), "header of 9223372036854775808 bytes");
    check_refused(std::string("\x03\0\0\0\0\0\0\0{}", 10), "truncated");
    check_refused(std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10), "want at most");
    check_refused(file_bytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four), "want at most 8", {8, 5});
    check_refused(file_bytes(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                             R"("b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})", ""),
                  "2 tensors, want at most 1", {1 << 20, 1});
  }
  SUBCASE("the JSON") {
    check_refused(file_bytes("[]", ""), "does not start with '{'");
    check_refused(file_bytes(" {}", ""), "does not start with '{'");
    check_refused(file_bytes("{", ""), "not JSON");
    check_refused(file_bytes("{} x", ""), "not JSON");
    check_refused(file_bytes("{\"\xff\":1}", ""), "not JSON");
    check_refused(file_bytes("{\"a\":" + std::string(10'000, '['), ""), "nested deeper");
    check_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})"),
                  "stands twice");
    check_refused(one(R"({"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]})"), "stands twice");
    check_refused(file_bytes(R"({"__metadata__":{"n":1}})", ""), "want a string");
    check_refused(file_bytes(R"({"__metadata__":[]})", ""), "object of strings");
  }
  SUBCASE("an entry") {
    check_refused(one("7"), "want an object");
    check_refused(one(R"({"dtype":"F32","shape":[1]})"), "want an object");
    check_refused(one(R"({"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]})"), "'F8_E4M3'");
    check_refused(one(R"({"dtype":5,"shape":[1],"data_offsets":[0,4]})"), "no string");
    check_refused(one(R"({"dtype":"F32","shape":[2],"data_offsets":[0,4]})"), "take 8");
    check_refused(one(R"({"dtype":"F32","shape":[-1],"data_offsets":[0,4]})"), "integers from 0");
    check_refused(one(R"({"dtype":"F32","shape":[1.0],"data_offsets":[0,4]})"), "integers from 0");
    check_refused(one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]})"), "more than can be counted");
    check_refused(one(R"({"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]})"), "more than can be counted");
    check_refused(one(R"({"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1],"data_offsets":[0,4]})"), "9 dimensions");
  }
  SUBCASE("the offsets") {
    check_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551616]})"), "integers from 0");
    check_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]})"), "integers from 0");
    check_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,0]})"), "begin <= end");
    check_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[0]})"), "begin <= end");
    check_refused(one(R"({"dtype":"F32","shape":[1],"data_offsets":[4,8]})"), "truncated");
    check_refused(one(R"({"dtype":"U8","shape":[3],"data_offsets":[0,3]})"), "1 bytes after the last tensor");
    check_refused(one(R"({"dtype":"U8","shape":[3],"data_offsets":[1,4]})"), "starts at byte 1");
    check_refused(one(R"({"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]})"),
                  "starts at byte 2");
  }
}

TEST_CASE("safetensors: a folder or a missing file is one clear line") {
  const temporary_folder folder;
  CHECK_THROWS_WITH_AS(safetensors_file(folder.path()), doctest::Contains("no regular file"), input_error);
  CHECK_THROWS_WITH_AS(safetensors_file(folder / "no"), doctest::Contains("No such file"), input_error);
}

TEST_CASE("safetensors: injured files are refused or read, never more") {
  const temporary_folder folder;
  const model::weights parameters{{"a", at::ones({2, 3})}, {"b", at::ones({5})}};
  model::write_safetensors(folder / "m.safetensors", parameters);
  const std::string whole = tests::read_file(folder / "m.safetensors");
  const int refused = tests::refused_of(whole, 4000, [&](const std::string& bytes) {
    tests::write_file(folder / "x.safetensors", bytes);
    const safetensors_file file(folder / "x.safetensors");
    for (const auto& tensor : file.tensors())
      if (tensor.kind == model::storage::f32)
        CHECK(model::to_float32(tensor).numel() * 4 == static_cast<std::int64_t>(tensor.bytes.size()));
  });
  CHECK(refused > 2000);
}
