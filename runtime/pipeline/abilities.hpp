#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/pipeline/planned_abilities.hpp"

#include <map>
#include <string>

namespace millrace::pipeline {

/// What the role will be able to do, as its table says.
planned_abilities abilities_of(const role& r);

/// `max_failures` of each role that has it, by the role's name.
std::map<std::string, double> max_failures_of(const pipeline& p);

} // namespace millrace::pipeline
