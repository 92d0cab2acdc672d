#include "runtime/pipeline/abilities.hpp"

#include <variant>

namespace millrace::pipeline {

planned_abilities abilities_of(const role& r) {
  return std::visit([](const auto& table) { return table.abilities(); }, r.options);
}

} // namespace millrace::pipeline
