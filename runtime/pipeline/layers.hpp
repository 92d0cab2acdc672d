#pragma once

#include "runtime/pipeline/document.hpp"
#include "runtime/pipeline/pipeline.hpp"

#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace millrace::pipeline {

/// A file of those that make a pipeline together.
struct layer {
  std::string text;
  std::string name;             ///< stands in every position
  std::filesystem::path folder; ///< its relative paths start here
};

/// Layers laid one over another.
struct document {
  value root;                                 ///< each value knows by `where.file` the layer that it stands in
  std::vector<std::filesystem::path> folders; ///< by layer
  std::vector<std::filesystem::path> files;   ///< by layer: the folder and the name's last part
};

/// The text of a pipeline's file. @throws input_error in one line
std::string text_of_file(const std::filesystem::path& file);

/// @param files at least one
/// @throws input_error for the first file that cannot be read, in one line
std::vector<layer> texts_of(const std::vector<std::filesystem::path>& files);

/// `over` on top of `under`: tables merge key by key, anything else of `over` takes the place of what it meets. The
/// keys of `under` keep their places, new ones come after them; a table of both stands where `over` has it.
value merged(value under, const value& over);

/// @param layers at least one; a later one goes over the earlier ones
/// @throws pipeline_errors with the mistake of each layer that is no TOML
document laid_over(std::span<const layer> layers);

/// Writes into `p` which files it was read from.
void name_files(pipeline& p, const document& from);

} // namespace millrace::pipeline
