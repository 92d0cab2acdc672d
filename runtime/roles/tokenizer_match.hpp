#pragma once

#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/pipeline.hpp"

namespace millrace::roles {

/// Whether every id means the same token to both.
bool same_tokens(const text::tokenizer& a, const text::tokenizer& b);

/// The tokenizer whose ids flow along the pipeline: that of the rollout's model.
/// @throws input_error if the model has none
std::shared_ptr<const text::tokenizer> flowing_tokenizer(const pipeline::pipeline& p);

/// @throws input_error if `model` does not read the ids that flow along the pipeline
void check_same_tokens(const pipeline::pipeline& p, const model::checkpoint& model);

} // namespace millrace::roles
