#pragma once

#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/stages.hpp"

#include <vector>

namespace millrace::tools {

/// The stages with each model that an earlier stage writes replaced by the one that this stage begins with: it has the
/// same tokenizer and template, and it is there before a run.
std::vector<pipeline::stage> with_starting_models(std::vector<pipeline::stage> stages);

/// Tokenizer, template and shape of the model whose tokens a role's answers are made of: its own, that of the role
/// which wrote the answers, or the policy's. Never weights.
/// @throws input_error as `roles::load_text_model`
model::checkpoint text_model_of(const pipeline::pipeline& p, const pipeline::role& role);

} // namespace millrace::tools
