#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/pipeline/stages.hpp"

#include <map>
#include <string>
#include <vector>

namespace millrace::pipeline {

// The graph of roles. Boxes name the role as the file does, its kind and where it runs; arrows carry the columns that
// the reader takes from there; the publication of weights is a dashed arrow.

std::string draw_dot(const pipeline& p);
std::string draw_mermaid(const pipeline& p);
/// Lines of words below the box of a role, by its name.
using role_notes = std::map<std::string, std::vector<std::string>>;

/// Self-contained, laid out left to right in layers, on a white ground.
/// @param notes at most three lines a role are drawn, each cut to what fits
std::string draw_svg(const pipeline& p, const role_notes& notes = {});

// A file of several stages: each in a frame of its own, with arrows where a stage begins from weights of an earlier
// one.

std::string draw_dot(const std::vector<stage>& stages);
std::string draw_mermaid(const std::vector<stage>& stages);
/// The stages one below another.
std::string draw_svg(const std::vector<stage>& stages);

/// The columns that `reader` takes from `from`, one of the roles it reads from: each column from the role that adds it
/// where that is one of them, else from the first that has it.
std::vector<std::string> columns_between(const pipeline& p, const std::string& from, const role& reader);

/// What the arrow of publication says: in which numbers weights travel, if not in fp32, and from whom.
std::string published_by(const pipeline& p, const role& policy);

} // namespace millrace::pipeline
