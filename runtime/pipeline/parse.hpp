#pragma once

#include "runtime/pipeline/layers.hpp"
#include "runtime/pipeline/pipeline.hpp"
#include "runtime/pipeline/reader.hpp"

#include <filesystem>
#include <string>
#include <string_view>

namespace millrace::pipeline {

/// Reads and checks the pipeline in `root`; what is wrong goes to `into.mistakes`, where each value came from to
/// `into.origins`.
pipeline pipeline_from(const value& root, reading& into);

/// A document without stages as a pipeline. @throws pipeline_errors with every mistake at once
pipeline pipeline_of(document from, const std::vector<std::string>& overrides, const vocabulary& words);

/// Whether a role, a model or a stage may be called that.
bool is_name(std::string_view name);

} // namespace millrace::pipeline
