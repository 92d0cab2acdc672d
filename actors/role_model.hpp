#pragma once

#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/pipeline.hpp"

#include <string>

namespace millrace::actors {

/// The model that a pipeline names, with the chat template that the pipeline names instead of the model's own.
/// @throws input_error if it cannot be read or holds no tokenizer
model::checkpoint load_model(const pipeline::pipeline& p, const std::string& name, bool weights);

} // namespace millrace::actors
