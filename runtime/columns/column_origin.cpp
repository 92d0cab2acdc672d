#include "runtime/columns/column_origin.hpp"

#include "runtime/columns/column_builder.hpp"

#include <array>
#include <stdexcept>

namespace millrace::columns {

transport::bundle origin_of(std::string_view column, train::column_origin origin) {
  const std::array numbers{origin.version, origin.threads};
  return column_builder().add(column::origin_of(column), numbers).finish();
}

std::map<std::string, train::column_origin> origins_in(const column_set& columns) {
  constexpr auto prefix = column::prefix_of(column::any_origin.name);
  std::map<std::string, train::column_origin> origins;
  for (const auto& part : columns.parts())
    for (const auto& [spec, bytes] : part.columns())
      if (spec.name.starts_with(prefix)) {
        const auto name = spec.name.substr(prefix.size());
        const auto numbers = columns.view(column::origin_of(name));
        if (numbers.size() != 2)
          throw std::invalid_argument("column '" + spec.name + "': want version and threads");
        origins[name] = {numbers[0], numbers[1]};
      }
  return origins;
}

} // namespace millrace::columns
