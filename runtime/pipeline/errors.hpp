#pragma once

#include "runtime/pipeline/position.hpp"
#include "runtime/words/input_error.hpp"

#include <string>
#include <vector>

namespace millrace::pipeline {

/// One mistake of a pipeline file.
struct mistake {
  position where;
  std::string text; ///< what was found, what was wanted: one line without the position
};

/// Every mistake of a file at once. `what()` is one line each, `file:line:column: found, want`, in the order of the
/// files and then of the `--set`s, joined by newlines.
class pipeline_errors : public input_error {
public:
  /// @param mistakes at least one, in any order; equal ones are said once
  explicit pipeline_errors(std::vector<mistake> mistakes);

  const std::vector<mistake>& mistakes() const { return mistakes_; }

private:
  struct sorted_tag {};

  pipeline_errors(std::vector<mistake> sorted, sorted_tag);
  std::vector<mistake> mistakes_;
};

} // namespace millrace::pipeline
