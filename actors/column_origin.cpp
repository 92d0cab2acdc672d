#include "actors/column_origin.hpp"

#include <array>
#include <stdexcept>

namespace millrace::actors {
namespace {

constexpr std::string_view prefix = "origin.";

} // namespace

transport::bundle origin_of(std::string_view column, train::column_origin origin) {
  const std::array numbers{origin.version, origin.threads};
  return transport::bundle_builder().add(std::string(prefix) + std::string(column), std::span<const std::uint32_t>(numbers)).finish();
}

std::map<std::string, train::column_origin> origins_in(const column_set& columns) {
  std::map<std::string, train::column_origin> origins;
  for (const auto& part : columns.parts())
    for (const auto& column : part.columns())
      if (column.spec.name.starts_with(prefix)) {
        const auto numbers = part.view<std::uint32_t>(column.spec.name);
        if (numbers.size() != 2)
          throw std::invalid_argument("column '" + column.spec.name + "': want version and threads");
        origins[column.spec.name.substr(prefix.size())] = {numbers[0], numbers[1]};
      }
  return origins;
}

} // namespace millrace::actors
