#pragma once

#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/pipeline.hpp"

#include <memory>
#include <string>

namespace millrace::roles {

/// The model that a pipeline names, with the chat template that the pipeline names instead of the model's own.
/// @throws input_error if it cannot be read or holds no tokenizer
/// @param kept what its weights are read as
model::checkpoint load_model(const pipeline::pipeline& p, const std::string& name, precision kept);

/// The same without its weights: tokenizer, template and shape. An unknown template is an error now, not at the first
/// prompt.
model::checkpoint load_text_model(const pipeline::pipeline& p, const std::string& name);

/// The device that a role is given, as this machine has it. @throws input_error for one that is not here
at::Device device_for(const pipeline::pipeline& p, const pipeline::role& role);

/// Where a role generates or scores. @throws pipeline_errors at the key `path`, for what a GPU does not keep
/// @param kept the word of a precision
at::Device device_for(const pipeline::pipeline& p, const pipeline::role& role, const std::string& kept,
                      const std::string& path);

/// Where a role computes with a model of the pipeline. @throws pipeline_errors for a `dtype` that cannot be there
at::Device device_for(const pipeline::pipeline& p, const pipeline::role& role, const std::string& model);

/// Whether every id means the same token to both.
bool same_tokens(const text::tokenizer& a, const text::tokenizer& b);

/// The tokenizer whose ids flow along the pipeline: that of the rollout's model.
/// @throws input_error if the model has none
std::shared_ptr<const text::tokenizer> flowing_tokenizer(const pipeline::pipeline& p);

/// @throws input_error if `model` does not read the ids that flow along the pipeline
void check_same_tokens(const pipeline::pipeline& p, const model::checkpoint& model);

} // namespace millrace::roles
