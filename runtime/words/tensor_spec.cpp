#include "runtime/words/tensor_spec.hpp"

#include <limits>
#include <stdexcept>

namespace millrace {
namespace {

constexpr std::size_t largest = std::size_t(std::numeric_limits<std::int64_t>::max()) - 64;

struct element {
  std::string_view name;
  std::size_t bytes;
};

constexpr element elements[] = {{"u8", 1},  {"i32", 4}, {"u32", 4},  {"i64", 8},
                                {"f32", 4}, {"f64", 8}, {"bf16", 2}, {"f16", 2}};

std::invalid_argument bad_column(const tensor_spec& spec, const std::string& what) {
  return std::invalid_argument("column '" + spec.name + "': " + what);
}

} // namespace

std::size_t bytes_of(dtype type) {
  const auto index = static_cast<std::size_t>(type);
  return index < std::size(elements) ? elements[index].bytes : 0;
}

std::string_view name_of(dtype type) {
  const auto index = static_cast<std::size_t>(type);
  return index < std::size(elements) ? elements[index].name : "unknown";
}

std::size_t bytes_of(const tensor_spec& spec) {
  std::size_t bytes = bytes_of(spec.type);
  if (bytes == 0)
    throw bad_column(spec, "unknown dtype " + std::to_string(static_cast<int>(spec.type)));
  bool empty = false;
  for (const std::int64_t extent : spec.shape) {
    if (extent < 0)
      throw bad_column(spec, "extent " + std::to_string(extent) + ", want >= 0");
    empty = empty || extent == 0;
  }
  if (empty)
    return 0;
  for (const std::int64_t extent : spec.shape) {
    if (static_cast<std::size_t>(extent) > largest / bytes)
      throw bad_column(spec, "its size does not fit 63 bits");
    bytes *= static_cast<std::size_t>(extent);
  }
  return bytes;
}

std::string to_string(const tensor_spec& spec) {
  std::string text = spec.name + ": " + std::string(name_of(spec.type)) + " [";
  for (std::size_t i = 0; i < spec.shape.size(); ++i)
    text += (i ? ", " : "") + std::to_string(spec.shape[i]);
  return text + "]";
}

} // namespace millrace
