#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/pipeline/planned_abilities.hpp"

namespace millrace::pipeline {

/// What the role will be able to do, as its table says.
planned_abilities abilities_of(const role& r);

} // namespace millrace::pipeline
