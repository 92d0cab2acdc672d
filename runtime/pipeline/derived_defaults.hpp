#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/pipeline/reader.hpp"

namespace millrace::pipeline {

/// Fills the defaults that follow from other tables: a generator's seed, a rule's name.
void fill_derived(pipeline& p, reading& into);

} // namespace millrace::pipeline
