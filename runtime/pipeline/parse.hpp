#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/pipeline/reader.hpp"

#include <filesystem>
#include <string>
#include <string_view>

namespace millrace::pipeline {

/// Reads and checks the pipeline in `root`; what is wrong goes to `into.mistakes`, where each value came from to
/// `into.origins`.
/// @param name of the file
pipeline pipeline_from(const value& root, const std::string& name, reading& into);

/// The text of a pipeline's file. @throws input_error in one line
std::string text_of_file(const std::filesystem::path& file);

/// Whether a role, a model or a stage may be called that.
bool is_name(std::string_view name);

} // namespace millrace::pipeline
