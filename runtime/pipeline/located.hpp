#pragma once

#include "runtime/pipeline/pipeline.hpp"
#include "runtime/words/input_error.hpp"

#include <string>
#include <utility>

namespace millrace::pipeline {

/// Does what the key of this path asks for. What is wrong with it, seen only now, is said at the key's place.
/// @throws pipeline_errors `file:line:column: path: why` where `open` throws an input_error without a place in the file
template <class Open>
auto located(const pipeline& p, const std::string& path, Open&& open) {
  try {
    return std::forward<Open>(open)();
  } catch (const pipeline_errors&) {
    throw;
  } catch (const input_error& error) {
    throw pipeline_errors({p.mistake_at(path, error.what())});
  }
}

} // namespace millrace::pipeline
