#include "runtime/pipeline/abilities.hpp"

#include <variant>

namespace millrace::pipeline {

planned_abilities abilities_of(const role& r) {
  return std::visit([](const auto& table) { return table.abilities(); }, r.options);
}

std::map<std::string, double> max_failures_of(const pipeline& p) {
  std::map<std::string, double> shares;
  for (const auto& r : p.roles)
    std::visit(
        [&](const auto& table) {
          if constexpr (requires { table.max_failures; })
            shares[r.name] = table.max_failures;
        },
        r.options);
  return shares;
}

} // namespace millrace::pipeline
