#include "runtime/transport/packing.hpp"

#include <limits>
#include <set>
#include <stdexcept>
#include <string>

namespace millrace::transport {
namespace {

constexpr std::size_t alignment = 64;
constexpr std::size_t largest = std::size_t(std::numeric_limits<std::int64_t>::max()) - alignment;

std::invalid_argument bad_column(const tensor_spec& spec, const std::string& what) {
  return std::invalid_argument("column '" + spec.name + "': " + what);
}

} // namespace

packing pack(std::span<const tensor_spec> layout) {
  packing result;
  std::set<std::string_view> names;
  for (const auto& spec : layout) {
    if (!names.insert(spec.name).second)
      throw bad_column(spec, "is there twice");
    const std::size_t offset = (result.bytes + alignment - 1) / alignment * alignment;
    const std::size_t bytes = bytes_of(spec);
    if (offset > largest || bytes > largest - offset)
      throw bad_column(spec, "the bundle's size does not fit 63 bits");
    result.offsets.push_back(offset);
    result.bytes = offset + bytes;
  }
  return result;
}

} // namespace millrace::transport
