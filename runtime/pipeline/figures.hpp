#pragma once

#include "runtime/pipeline/pipeline.hpp"

#include <string>
#include <vector>

namespace millrace::pipeline {

/// One figure of metrics.jsonl and TensorBoard.
struct figure {
  std::string name;
  std::string meaning; ///< one sentence, with the unit
};

/// Every figure that the pipeline makes: those of a step, then those of each evaluation. A few stand only in the rows
/// of steps that have something to say; their sentences begin with the condition.
std::vector<figure> figures_of(const pipeline& p);

/// Why the pipeline makes no figure of this name, "" where it does: `found "rewrad", want ...`. An evaluation also
/// makes its headline figures for each data source of its rows, as `evaluation/ROLE/SOURCE/pass@1`.
std::string no_figure(const pipeline& p, const std::string& name);

} // namespace millrace::pipeline
