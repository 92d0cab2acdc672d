#include "runtime/formats/safetensors.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/mutations.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <cstring>

namespace safetensors_test {

namespace {

using namespace millrace;
using formats::safetensors_file;
using tests::temporary_folder;

std::string file_bytes(std::string_view header, std::string_view data) {
  const std::uint64_t length = header.size();
  std::string out(reinterpret_cast<const char*>(&length), sizeof length);
  out.append(header).append(data);
  return out;
}

std::string error_of(const std::string& bytes, formats::safetensors_limits limits = {}) {
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

void check_refused(const std::string& bytes, std::string_view why, formats::safetensors_limits limits = {}) {
  const std::string error = error_of(bytes, limits);
  INFO("error: ", error);
  CHECK(error.find(why) != std::string::npos);
}

/// A tensor of a test, with its bytes.
struct plain_tensor {
  formats::tensor_header entry;
  std::string bytes;
};

template <class T>
plain_tensor plain(std::string name, formats::storage kind, std::vector<std::int64_t> shape,
                   const std::vector<T>& values) {
  return {{std::move(name), kind, std::move(shape)},
          {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)}};
}

void write(const std::filesystem::path& path, const std::vector<plain_tensor>& tensors,
           const std::map<std::string, std::string>& metadata = {{"format", "pt"}}) {
  std::vector<formats::tensor_header> entries;
  for (const auto& tensor : tensors)
    entries.push_back(tensor.entry);
  formats::write_safetensors(
      path, entries, [&](std::size_t i) { return std::as_bytes(std::span(tensors[i].bytes)); }, metadata);
}

std::string bytes_of(const safetensors_file& file, std::string_view name) {
  REQUIRE(file.find(name) != nullptr);
  const auto bytes = file.find(name)->bytes;
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

} // namespace

TEST_CASE("safetensors: a file of one number is these bytes") {
  const temporary_folder folder;
  write(folder / "a.safetensors", {plain<float>("a", formats::storage::f32, {1}, {1})}, {});
  const std::string header = R"({"a":{"data_offsets":[0,4],"dtype":"F32","shape":[1]}}  )";
  CHECK(header.size() % 8 == 0);
  CHECK(tests::read_file(folder / "a.safetensors") == file_bytes(header, std::string("\x00\x00\x80\x3f", 4)));
  CHECK(std::distance(std::filesystem::directory_iterator(folder.path()), {}) == 1);
}

TEST_CASE("safetensors: what is written is read back, whatever the kind and shape") {
  const temporary_folder folder;
  using formats::storage;
  const std::vector<plain_tensor> tensors{plain<float>("empty", storage::f32, {0, 7}, {}),
                                          plain<std::uint16_t>("half", storage::f16, {3, 1}, {0x3c00, 0xc000, 1}),
                                          plain<std::int64_t>("i", storage::i64, {2}, {-1, 1ll << 40}),
                                          plain<float>("matrix", storage::f32, {3, 2}, {1, 2, 3, 4, 5, 6}),
                                          plain<double>("scalar", storage::f64, {}, {2.5})};
  write(folder / "m.safetensors", tensors);
  const safetensors_file file(folder / "m.safetensors");
  REQUIRE(file.tensors().size() == tensors.size());
  for (const auto& [entry, bytes] : tensors) {
    CHECK(bytes_of(file, entry.name) == bytes);
    CHECK(file.find(entry.name)->kind == entry.kind);
    CHECK(file.find(entry.name)->shape == entry.shape);
  }
  CHECK(file.find("other") == nullptr);
  CHECK(file.metadata() == std::map<std::string, std::string>{{"format", "pt"}});
}

TEST_CASE("safetensors: a writer that gives names out of order or too few bytes leaves nothing behind") {
  const temporary_folder folder;
  using formats::storage;
  const auto one = [](const char* name) { return plain<float>(name, storage::f32, {1}, {1}); };
  CHECK_THROWS_WITH_AS(write(folder / "m.safetensors", {one("b"), one("a")}), doctest::Contains("sorted and unique"),
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(write(folder / "m.safetensors", {plain<float>("a", storage::f32, {2}, {1})}),
                       doctest::Contains("4 bytes do not fill its shape"), std::invalid_argument);
  CHECK(std::filesystem::is_empty(folder.path()));
}

TEST_CASE("safetensors: integers are views, not weights") {
  const temporary_folder folder;
  tests::write_file(folder / "m.safetensors",
                    file_bytes(R"({"i":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}})", "abcd"));
  const safetensors_file file(folder / "m.safetensors");
  CHECK(std::memcmp(file.find("i")->bytes.data(), "abcd", 4) == 0);
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
    check_refused(file_bytes(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four), "want at most 8",
                  {8, 5});
    check_refused(file_bytes(R"({"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},)"
                             R"("b":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}})",
                             ""),
                  "2 tensors, want at most 1", {1 << 20, 1});
  }
  SUBCASE("the JSON") {
    check_refused(file_bytes("[]", ""), "does not start with '{'");
    check_refused(file_bytes(" {}", ""), "does not start with '{'");
    check_refused(file_bytes("{", ""), "not JSON");
    check_refused(file_bytes("{} x", ""), "not JSON");
    check_refused(file_bytes("{\"\xff\":1}", ""), "not UTF-8");
    check_refused(file_bytes("{\"a\":" + std::string(10'000, '['), ""), "nested deeper");
    check_refused(
        one(R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]})"),
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
    check_refused(one(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]})"),
                  "more than can be counted");
    check_refused(one(R"({"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]})"),
                  "more than can be counted");
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
    check_refused(
        one(R"({"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[2],"data_offsets":[2,4]})"),
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
  write(folder / "m.safetensors", {plain<float>("a", formats::storage::f32, {2, 3}, std::vector<float>(6, 1)),
                                   plain<float>("b", formats::storage::f32, {5}, std::vector<float>(5, 1))});
  const std::string whole = tests::read_file(folder / "m.safetensors");
  const int refused = tests::refused_of(whole, 4000, [&](const std::string& bytes) {
    tests::write_file(folder / "x.safetensors", bytes);
    const safetensors_file file(folder / "x.safetensors");
    for (const auto& tensor : file.tensors())
      CHECK(formats::storage_bytes(tensor.kind, tensor.shape) == static_cast<std::int64_t>(tensor.bytes.size()));
  });
  CHECK(refused > 2000);
}

TEST_CASE("safetensors: several writers fill one file, and it is the one that a single writer writes") {
  const temporary_folder folder;
  const std::vector<float> a{1, 2, 3, 4}, b{5, 6};
  const std::vector tensors{plain("a", formats::storage::f32, {2, 2}, a), plain("b", formats::storage::f32, {2}, b)};
  write(folder / "one.safetensors", tensors);
  const auto writer = [&](const char* name) {
    return formats::safetensors_parts(folder / name, {tensors[0].entry, tensors[1].entry}, {{"format", "pt"}});
  };
  const auto bytes = [](const std::vector<float>& of, std::size_t first, std::size_t count) {
    return std::as_bytes(std::span(of).subspan(first, count));
  };
  auto one = writer("two.safetensors"), other = writer("two.safetensors");
  CHECK_THROWS_WITH_AS(other.write(1, 0, bytes(b, 0, 1)), doctest::Contains("two.safetensors: cannot open"),
                       input_error);
  one.make_room();
  other.write(1, 4, bytes(b, 1, 1));
  one.write(0, 0, bytes(a, 0, 3));
  other.write(0, 12, bytes(a, 3, 1));
  one.write(1, 0, bytes(b, 0, 1));
  one.finish();
  other.finish();
  CHECK(tests::read_file(folder / "two.safetensors") == tests::read_file(folder / "one.safetensors"));
  CHECK_THROWS_AS(one.write(1, 4, bytes(b, 0, 2)), std::invalid_argument);
  CHECK_THROWS_AS(one.write(0, -1, bytes(a, 0, 1)), std::invalid_argument);

  tests::write_file(folder / "three.safetensors", "of another run");
  auto third = writer("three.safetensors");
  CHECK_THROWS_WITH_AS(third.write(0, 0, bytes(a, 0, 1)), doctest::Contains("three.safetensors: 14 bytes, want the"),
                       input_error);
}

} // namespace safetensors_test
