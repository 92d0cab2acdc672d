#include "runtime/pipeline/errors.hpp"

#include "runtime/pipeline/wording.hpp"

#include <algorithm>
#include <set>
#include <tuple>

namespace millrace::pipeline {
namespace {

/// The files first, each in its order; then each `--set`, which has line 0.
auto rank(const mistake& m) {
  return std::tuple(m.where.line == 0, m.where.file, m.where.line, m.where.column);
}

std::vector<mistake> in_order(std::vector<mistake> mistakes) {
  std::stable_sort(mistakes.begin(), mistakes.end(),
                   [](const mistake& a, const mistake& b) { return rank(a) < rank(b); });
  std::vector<mistake> once;
  std::set<std::string> said;
  for (mistake& m : mistakes)
    if (said.insert(m.where.text() + ": " + m.text).second)
      once.push_back(std::move(m));
  return once;
}

std::string lines_of(const std::vector<mistake>& mistakes) {
  std::string out;
  for (const mistake& m : mistakes)
    out += (out.empty() ? "" : "\n") + printable(m.where.text()) + ": " + m.text;
  return out;
}

} // namespace

pipeline_errors::pipeline_errors(std::vector<mistake> mistakes)
    : pipeline_errors(in_order(std::move(mistakes)), sorted_tag{}) {
}

pipeline_errors::pipeline_errors(std::vector<mistake> sorted, sorted_tag)
    : input_error(lines_of(sorted)), mistakes_(std::move(sorted)) {
}

} // namespace millrace::pipeline
