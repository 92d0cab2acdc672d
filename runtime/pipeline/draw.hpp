#pragma once

#include "runtime/pipeline/pipeline.hpp"

#include <string>

namespace millrace::pipeline {

// The graph of roles. Boxes name the role as the file does, its kind and where it runs; arrows carry the columns that the
// reader uses from there; the policy's publication to rollouts is a dashed arrow.

std::string draw_dot(const pipeline& p);
std::string draw_mermaid(const pipeline& p);
/// Self-contained, laid out left to right in layers, readable on a light and on a dark page.
std::string draw_svg(const pipeline& p);

} // namespace millrace::pipeline
