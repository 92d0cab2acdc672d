#include "runtime/transport/bundle.hpp"

#include "runtime/transport/wanted_columns.hpp"

#include <cstring>
#include <new>
#include <set>
#include <stdexcept>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace millrace::transport {
namespace {

std::shared_ptr<std::byte> aligned_zeros(std::size_t bytes) {
  constexpr std::align_val_t alignment{64};
  auto* memory = static_cast<std::byte*>(::operator new(bytes, alignment));
  std::memset(memory, 0, bytes);
  return {memory, [](std::byte* p) { ::operator delete (p, std::align_val_t{64}); }};
}

} // namespace

bundle bundle::wrap(std::vector<column> columns, std::shared_ptr<const void> owner) {
  std::set<std::string_view> names;
  for (const auto& c : columns) {
    if (!names.insert(c.spec.name).second)
      throw std::invalid_argument("column '" + c.spec.name + "': is there twice");
    if (bytes_of(c.spec) != c.bytes.size())
      throw std::invalid_argument(to_string(c.spec) + ": wants " + std::to_string(bytes_of(c.spec)) + " bytes, got "
                                  + std::to_string(c.bytes.size()));
  }
  bundle result;
  result.columns_ = std::move(columns);
  result.owner_ = std::move(owner);
  return result;
}

bundle bundle::over(std::span<const tensor_spec> layout, std::span<const std::byte> block,
                    std::shared_ptr<const void> owner) {
  const packing where = pack(layout);
  if (block.size() < where.bytes)
    throw std::invalid_argument("bundle: wants a block of " + std::to_string(where.bytes) + " bytes, got "
                                + std::to_string(block.size()));
  bundle result;
  for (std::size_t i = 0; i < layout.size(); ++i)
    result.columns_.push_back({layout[i], block.subspan(where.offsets[i], bytes_of(layout[i]))});
  result.block_ = block.first(where.bytes);
  result.owner_ = std::move(owner);
  return result;
}

bundle bundle::over(std::span<const tensor_spec> layout, std::shared_ptr<const shared_memory> memory) {
  bundle result = over(layout, memory->bytes(), memory);
  result.shared_ = std::move(memory);
  return result;
}

std::vector<tensor_spec> bundle::layout() const {
  std::vector<tensor_spec> result;
  for (const auto& c : columns_)
    result.push_back(c.spec);
  return result;
}

bool bundle::has(std::string_view name) const {
  for (const auto& c : columns_)
    if (c.spec.name == name)
      return true;
  return false;
}

const column& bundle::at(std::string_view name) const {
  for (const auto& c : columns_)
    if (c.spec.name == name)
      return c;
  throw std::out_of_range(no_such_column(name, layout()));
}

std::size_t bundle::bytes() const {
  std::size_t sum = 0;
  for (const auto& c : columns_)
    sum += c.bytes.size();
  return sum;
}

std::vector<std::uint64_t> bundle::checksums() const {
  std::vector<std::uint64_t> sums;
  for (const auto& c : columns_)
    sums.push_back(XXH3_64bits(c.bytes.data(), c.bytes.size()));
  return sums;
}

bundle bundle::only(std::span<const std::size_t> places) const {
  if (places.size() == columns_.size())
    return *this;
  bundle result;
  for (const std::size_t place : places)
    result.columns_.push_back(columns_.at(place));
  result.owner_ = owner_;
  return result;
}

void bundle::wrong_type(const tensor_spec& spec, std::string_view wanted) {
  throw std::invalid_argument("column " + to_string(spec) + ": asked for " + std::string(wanted));
}

bundle_builder& bundle_builder::add_all(const bundle& other) {
  columns_.insert(columns_.end(), other.columns().begin(), other.columns().end());
  owners_.push_back(other.owner());
  return *this;
}

bundle_builder& bundle_builder::add_bytes(tensor_spec spec, std::span<const std::byte> bytes) {
  columns_.push_back({std::move(spec), bytes});
  return *this;
}

bundle bundle_builder::finish() const {
  const auto layout = bundle::wrap(columns_, nullptr).layout();
  const packing where = pack(layout);
  const auto fill = [&](std::byte* memory) {
    for (std::size_t i = 0; i < columns_.size(); ++i)
      if (!columns_[i].bytes.empty())
        std::memcpy(memory + where.offsets[i], columns_[i].bytes.data(), columns_[i].bytes.size());
  };
  if (where.bytes >= smallest_shared) {
    auto memory = shared_memory::make(where.bytes);
    fill(memory->data());
    return bundle::over(layout, std::move(memory));
  }
  const auto memory = aligned_zeros(where.bytes);
  fill(memory.get());
  return bundle::over(layout, {memory.get(), where.bytes}, memory);
}

} // namespace millrace::transport
