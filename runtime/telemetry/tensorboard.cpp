#include "runtime/telemetry/tensorboard.hpp"

#include "runtime/telemetry/machine.hpp"

#include <unistd.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <string>

namespace millrace::telemetry {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view file_prefix = "events.out.tfevents.";
constexpr std::size_t head_bytes = 12; // u64 length, u32 its checksum
constexpr std::size_t tail_bytes = 4;  // u32 checksum of the data

static_assert(std::endian::native == std::endian::little, "records are little-endian");

constexpr std::array<std::uint32_t, 256> crc32c_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t remainder = byte;
    for (int bit = 0; bit < 8; ++bit)
      remainder = (remainder >> 1) ^ ((remainder & 1) != 0 ? 0x82f63b78U : 0U);
    table[byte] = remainder;
  }
  return table;
}

template <class T>
std::string raw(T value) {
  std::string bytes(sizeof value, '\0');
  std::memcpy(bytes.data(), &value, sizeof value);
  return bytes;
}

template <class T>
T from_raw(std::string_view bytes) {
  T value{};
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

// -- protocol buffers: a key is (field number << 3) | wire type ------------------------------------

enum wire : unsigned { varint = 0, fixed64 = 1, counted = 2, fixed32 = 5 };

std::string in_varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7)
    bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}

std::string field(unsigned number, wire type, std::string_view payload) {
  std::string bytes = in_varint(number << 3 | type);
  if (type == counted)
    bytes += in_varint(payload.size());
  return bytes.append(payload);
}

std::optional<std::uint64_t> take_varint(std::string_view& bytes) {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 64 && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    value |= std::uint64_t{byte & 0x7fU} << shift;
    if (byte < 0x80)
      return value;
  }
  return std::nullopt;
}

/// Field 2 of an Event; 0 if it is not there; nothing if the message is damaged.
std::optional<std::int64_t> step_of_event(std::string_view event) {
  std::int64_t step = 0;
  while (!event.empty()) {
    const auto key = take_varint(event);
    if (!key)
      return std::nullopt;
    const auto type = *key & 7U;
    std::uint64_t skip = type == fixed64 ? 8 : type == fixed32 ? 4 : 0;
    if (type == varint || type == counted) {
      const auto value = take_varint(event);
      if (!value)
        return std::nullopt;
      if (*key == (2U << 3 | varint))
        step = static_cast<std::int64_t>(*value);
      skip = type == counted ? *value : 0;
    }
    if (skip > event.size())
      return std::nullopt;
    event.remove_prefix(skip);
  }
  return step;
}

// -- records ---------------------------------------------------------------------------------------

std::string record(std::string_view data) {
  const std::string length = raw(std::uint64_t{data.size()});
  return length + raw(masked_crc32c(length)) + std::string{data} + raw(masked_crc32c(data));
}

/// The records of `file` up to the first that is torn or damaged, without those of steps after `last_step`.
std::string records_until(std::string_view file, std::int64_t last_step) {
  std::string records;
  std::size_t kept = 0;
  while (file.size() - kept >= head_bytes + tail_bytes) {
    const auto rest = file.substr(kept);
    const auto length = from_raw<std::uint64_t>(rest);
    if (masked_crc32c(rest.substr(0, 8)) != from_raw<std::uint32_t>(rest.substr(8))
        || length > rest.size() - head_bytes - tail_bytes)
      break;
    const auto data = rest.substr(head_bytes, length);
    const auto step = step_of_event(data);
    if (masked_crc32c(data) != from_raw<std::uint32_t>(rest.substr(head_bytes + length)) || !step)
      break;
    const auto size = head_bytes + length + tail_bytes;
    if (*step <= last_step)
      records += file.substr(kept, size);
    kept += size;
  }
  return records;
}

void forget_events_after(const fs::path& folder, std::int64_t last_step) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (!entry.path().filename().string().starts_with(file_prefix))
      continue;
    const std::string bytes = run_files::read_file(entry.path());
    if (const auto kept = records_until(bytes, last_step); kept.size() < bytes.size())
      run_files::replace_file(entry.path(), kept);
  }
}

} // namespace

std::uint32_t masked_crc32c(std::string_view bytes) {
  static constexpr auto table = crc32c_table();
  std::uint32_t crc = ~0U;
  for (const char byte : bytes)
    crc = table[(crc ^ static_cast<unsigned char>(byte)) & 0xff] ^ (crc >> 8);
  return std::rotr(~crc, 15) + 0xa282ead8U;
}

event_file::event_file(const fs::path& folder, int session, std::int64_t last_step, double wall_s)
    : path_{folder
            / (std::string{file_prefix} + std::to_string(static_cast<std::int64_t>(wall_s)) + "." + host_name() + "."
               + std::to_string(::getpid()) + "." + std::to_string(session))},
      file_{(forget_events_after(folder, last_step), path_)} {
  file_.append(record(field(1, fixed64, raw(wall_s)) + field(3, counted, "brain.Event:2")));
}

void event_file::append(const metric_row& row) {
  std::string summary;
  for (const auto& [name, value] : row.values)
    if (std::isfinite(value))
      summary += field(1, counted, field(1, counted, name) + field(2, fixed32, raw(static_cast<float>(value))));
  file_.append(record(field(1, fixed64, raw(row.wall_s))
                      + field(2, varint, in_varint(static_cast<std::uint64_t>(row.step)))
                      + field(5, counted, summary)));
}

} // namespace millrace::telemetry
