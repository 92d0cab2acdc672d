#include "runtime/transport/wanted_columns.hpp"

#include <algorithm>
#include <stdexcept>

namespace millrace::transport {

std::vector<std::size_t> places_of(const wanted_columns& wanted, std::span<const tensor_spec> layout) {
  const auto has = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const auto& name : wanted.required)
    if (std::none_of(layout.begin(), layout.end(), [&](const tensor_spec& spec) { return spec.name == name; }))
      throw std::out_of_range(no_such_column(name, layout));
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < layout.size(); ++i)
    if (has(wanted.required, layout[i].name) || has(wanted.optional, layout[i].name))
      places.push_back(i);
  return places;
}

std::string no_such_column(std::string_view name, std::span<const tensor_spec> layout) {
  std::string names;
  for (const auto& spec : layout)
    names += (names.empty() ? "" : ", ") + spec.name;
  return "column '" + std::string(name) + "' is not in the bundle, which has: " + names;
}

} // namespace millrace::transport
