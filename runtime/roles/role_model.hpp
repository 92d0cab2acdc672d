#pragma once

#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/pipeline.hpp"

#include <string>

namespace millrace::roles {

/// The model that a pipeline names, with the chat template that the pipeline names instead of the model's own.
/// @throws input_error if it cannot be read or holds no tokenizer
model::checkpoint load_model(const pipeline::pipeline& p, const std::string& name);

/// The same without its weights: tokenizer, template and shape. An unknown template is an error now, not at the first
/// prompt.
model::checkpoint load_text_model(const pipeline::pipeline& p, const std::string& name);

} // namespace millrace::roles
