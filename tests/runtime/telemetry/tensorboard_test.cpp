#include "runtime/telemetry/tensorboard.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <stdexcept>

namespace tensorboard_test {

using namespace millrace;
using namespace millrace::telemetry;
using millrace::tests::temporary_folder;

namespace fs = std::filesystem;

namespace {

/// CRC-32C bit by bit, and its mask, straight from the definition.
std::uint32_t checksum(std::string_view bytes) {
  std::uint32_t crc = 0xffffffff;
  for (const char c : bytes) {
    crc ^= static_cast<unsigned char>(c);
    for (int i = 0; i < 8; ++i)
      crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82f63b78 : crc >> 1;
  }
  crc = ~crc;
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8;
}

/// One field of a protocol buffer message; `bytes` holds the payload of whatever type it was.
struct proto_field {
  unsigned number;
  std::uint64_t value;
  std::string bytes;
};

std::vector<proto_field> fields_of(std::string_view message) {
  std::vector<proto_field> fields;
  std::size_t at = 0;
  const auto take_varint = [&] {
    std::uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
      const auto byte = static_cast<unsigned char>(message.at(at++));
      value |= std::uint64_t{byte & 0x7fU} << shift;
      if ((byte & 0x80) == 0)
        return value;
    }
  };
  while (at < message.size()) {
    const auto key = take_varint();
    proto_field field{static_cast<unsigned>(key >> 3), 0, {}};
    std::size_t size = 0;
    switch (key & 7) {
    case 0:
      field.value = take_varint();
      break;
    case 1:
      size = 8;
      break;
    case 2:
      size = take_varint();
      break;
    case 5:
      size = 4;
      break;
    default:
      throw std::runtime_error("wire type");
    }
    if (at + size > message.size())
      throw std::runtime_error("length");
    field.bytes = message.substr(at, size);
    at += size;
    fields.push_back(field);
  }
  return fields;
}

struct event {
  double wall_s = 0;
  std::int64_t step = 0;
  std::string file_version;
  std::map<std::string, float> scalars;
};

event decode(std::string_view message) {
  event decoded;
  for (const auto& field : fields_of(message)) {
    if (field.number == 1)
      std::memcpy(&decoded.wall_s, field.bytes.data(), 8);
    if (field.number == 2)
      decoded.step = static_cast<std::int64_t>(field.value);
    if (field.number == 3)
      decoded.file_version = field.bytes;
    if (field.number != 5)
      continue;
    for (const auto& value : fields_of(field.bytes)) {
      std::string tag;
      float scalar = 0;
      for (const auto& part : fields_of(value.bytes)) {
        if (part.number == 1)
          tag = part.bytes;
        if (part.number == 2)
          std::memcpy(&scalar, part.bytes.data(), 4);
      }
      decoded.scalars[tag] = scalar;
    }
  }
  return decoded;
}

/// Reads all records, checking both checksums of each.
std::vector<event> events_in(const fs::path& path) {
  const std::string bytes = run_files::read_file(path);
  std::vector<event> events;
  for (std::size_t at = 0; at < bytes.size();) {
    std::uint64_t length = 0;
    std::uint32_t length_sum = 0;
    std::uint32_t data_sum = 0;
    std::memcpy(&length, bytes.data() + at, 8);
    std::memcpy(&length_sum, bytes.data() + at + 8, 4);
    REQUIRE(length_sum == checksum(bytes.substr(at, 8)));
    const auto data = bytes.substr(at + 12, length);
    std::memcpy(&data_sum, bytes.data() + at + 12 + length, 4);
    REQUIRE(data_sum == checksum(data));
    events.push_back(decode(data));
    at += 16 + length;
  }
  return events;
}

metric_row row_of(std::int64_t step) {
  metric_row row;
  row.step = step;
  row.wall_s = 1e9 + static_cast<double>(step);
  row.set(metric::reward, 0.5);
  row.set(metric::gradient_norm, static_cast<double>(step));
  return row;
}

} // namespace

TEST_CASE("the checksum of the standard test string is the published one") {
  // CRC-32C of "123456789" is 0xe3069283 (RFC 3720, B.4); rotated right by 15 and shifted by the mask's constant.
  CHECK(masked_crc32c("123456789") == ((0xe3069283U >> 15 | 0xe3069283U << 17) + 0xa282ead8U));
  CHECK(masked_crc32c("") == 0xa282ead8U);
}

TEST_CASE("an event file begins with its version and holds each step's finite figures as scalars") {
  const temporary_folder scratch;
  event_file file{scratch.path(), 1, 0, 1234.75};
  CHECK(file.path().filename().string().starts_with("events.out.tfevents.1234."));
  auto row = row_of(300);
  row.set("bad", std::nan(""));
  file.append(row);
  const auto events = events_in(file.path());
  REQUIRE(events.size() == 2);
  CHECK(events[0].file_version == "brain.Event:2");
  CHECK(events[0].wall_s == 1234.75);
  CHECK(events[1].step == 300);
  CHECK(events[1].wall_s == 1e9 + 300);
  CHECK(events[1].scalars == std::map<std::string, float>{{"reward", 0.5F}, {"actor/grad_norm", 300.F}});
}

TEST_CASE("a resume cuts records after its checkpoint's step, and a torn one, from the files before it") {
  const temporary_folder scratch;
  fs::path first;
  {
    event_file file{scratch.path(), 1, 0, 1};
    first = file.path();
    for (int step = 1; step <= 200; ++step)
      file.append(row_of(step));
  }
  std::ofstream{first, std::ios::app} << "torn";
  const event_file second{scratch.path(), 2, 150, 2};
  CHECK(second.path() != first);
  const auto events = events_in(first);
  REQUIRE(events.size() == 151);
  CHECK(events.back().step == 150);
}

TEST_CASE("a damaged record ends the file on resume") {
  const temporary_folder scratch;
  fs::path first;
  {
    event_file file{scratch.path(), 1, 0, 1};
    first = file.path();
    file.append(row_of(1));
    file.append(row_of(2));
  }
  const std::string whole = run_files::read_file(first);
  const std::size_t version_bytes = 16 + static_cast<unsigned char>(whole[0]);
  for (std::size_t at = version_bytes; at < whole.size(); at += 3) {
    auto damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    std::ofstream{first, std::ios::trunc | std::ios::binary} << damaged;
    const event_file next{scratch.path(), 2, 9, 2};
    CHECK(events_in(first).size() < 3);
    CHECK(events_in(first).size() >= 1);
    fs::remove(next.path());
  }
}

} // namespace tensorboard_test
