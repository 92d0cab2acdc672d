#pragma once

#include "runtime/pipeline/optimizer_table.hpp"
#include "runtime/train/optimizer.hpp"

namespace millrace::actors {

/// An optimizer as a role's table has it, over so many steps in all.
train::optimizer_options optimizer_options_of(const pipeline::optimizer_table& table, std::int64_t steps);

} // namespace millrace::actors
