#include "runtime/columns/weights_delta.hpp"

#include "runtime/transport/packing.hpp"
#include "runtime/transport/shared_memory.hpp"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace millrace::columns {
namespace {

constexpr const char *changed_column = "changed", *gaps_column = "gaps", *values_column = "values";

/// Numbers that differ, as they are found.
struct changes {
  std::vector<std::int64_t> changed;
  std::vector<std::uint8_t> gaps;
  std::vector<std::byte> values;

  std::size_t bytes() const { return gaps.size() + values.size(); }

  void add(std::uint64_t gap, const std::byte* number, std::size_t width) {
    for (; gap >= 0x80; gap >>= 7)
      gaps.push_back(static_cast<std::uint8_t>(gap | 0x80));
    gaps.push_back(static_cast<std::uint8_t>(gap));
    values.insert(values.end(), number, number + width);
  }
};

/// @param most bytes of all changes @returns whether they are no more
bool add_tensor(changes& found, std::span<const std::byte> before, std::span<const std::byte> after, std::size_t width,
                std::size_t most) {
  constexpr std::size_t stride = 64; // looked at together
  std::int64_t count = 0;
  std::size_t next = 0; // behind the last number that differs
  for (std::size_t at = 0; at < after.size();) {
    if (at % stride == 0 && at + stride <= after.size() && std::memcmp(&before[at], &after[at], stride) == 0) {
      at += stride;
      continue;
    }
    if (std::memcmp(&before[at], &after[at], width) != 0) {
      found.add((at - next) / width, &after[at], width);
      next = at + width;
      ++count;
      if (found.bytes() > most)
        return false;
    }
    at += width;
  }
  found.changed.push_back(count);
  return true;
}

/// Takes gaps off the front.
class gap_reader {
public:
  explicit gap_reader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  std::uint64_t next() {
    std::uint64_t gap = 0;
    for (int shift = 0; shift < 63; shift += 7) {
      if (at_ == bytes_.size())
        break;
      const auto byte = bytes_[at_++];
      gap |= static_cast<std::uint64_t>(byte & 0x7F) << shift;
      if (byte < 0x80)
        return gap;
    }
    throw std::invalid_argument("weights: the gaps of a delta end too early or are too long");
  }

  bool at_end() const { return at_ == bytes_.size(); }

private:
  std::span<const std::uint8_t> bytes_;
  std::size_t at_ = 0;
};

} // namespace

std::optional<transport::bundle> delta_of(const transport::bundle& before, const transport::bundle& after,
                                          double most) {
  if (before.layout() != after.layout())
    return std::nullopt;
  changes found;
  const auto limit = static_cast<std::size_t>(static_cast<double>(after.bytes()) * most);
  for (std::size_t i = 0; i < after.columns().size(); ++i) {
    const auto& column = after.columns()[i];
    if (!add_tensor(found, before.columns()[i].bytes, column.bytes, bytes_of(column.spec.type), limit))
      return std::nullopt;
  }
  return transport::bundle_builder()
      .add<std::int64_t>(changed_column, found.changed)
      .add<std::uint8_t>(gaps_column, found.gaps)
      .add<std::byte>(values_column, found.values)
      .finish();
}

transport::bundle patched(const transport::bundle& before, const transport::bundle& delta) {
  const auto changed = delta.view<std::int64_t>(changed_column);
  gap_reader gaps(delta.view<std::uint8_t>(gaps_column));
  auto values = delta.view<std::byte>(values_column);
  const auto layout = before.layout();
  if (std::ranges::any_of(changed, [](std::int64_t count) { return count < 0; }))
    throw std::invalid_argument("weights: a delta changes fewer than no numbers");
  if (changed.size() != layout.size())
    throw std::invalid_argument("weights: a delta of " + std::to_string(changed.size()) + " tensors, want "
                                + std::to_string(layout.size()));
  const auto where = transport::pack(layout);
  auto all = transport::shared_memory::make(where.bytes);
  for (std::size_t i = 0; i < layout.size(); ++i) {
    const auto bytes = before.columns()[i].bytes;
    const auto width = bytes_of(layout[i].type);
    std::byte* const to = all->data() + where.offsets[i];
    std::memcpy(to, bytes.data(), bytes.size());
    std::uint64_t number = 0; // behind the last one that differs
    for (std::int64_t k = 0; k < changed[i]; ++k) {
      const auto gap = gaps.next();
      if (gap >= bytes.size() / width - number || values.size() < width)
        throw std::invalid_argument("weights: a delta changes more numbers than " + to_string(layout[i]) + " has");
      number += gap;
      std::memcpy(to + number * width, values.data(), width);
      values = values.subspan(width);
      ++number;
    }
  }
  if (!gaps.at_end() || !values.empty())
    throw std::invalid_argument("weights: a delta has more numbers than it says");
  return transport::bundle::over(layout, std::move(all));
}

} // namespace millrace::columns
