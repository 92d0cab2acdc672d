#pragma once

#include "runtime/pipeline/pipeline.hpp"

#include <string>
#include <vector>

namespace millrace::actors {

/// Opens what the roles of a run open when they start, as they open it: shape, tokenizer and chat template of each
/// model, the heads of its files of weights, the first usable row of each data file, adapters, the secret. Weights are
/// not read: that a number among them is no number is found by the run alone. What an earlier stage writes is passed
/// over.
/// @returns a line for each data file that has unusable rows before its first usable one: how many, and the first
/// @throws input_error with the line that ends such a run
std::vector<std::string> check_inputs(const pipeline::pipeline& p);

/// Opens what a role reads of models when it starts on this host, without weights. Roles without a model read none.
/// @param from_checkpoint it begins with what a checkpoint holds: a learner reads its model there, unless it trains an
/// adapter
/// @throws input_error in one line with the path
void check_model_of(const pipeline::pipeline& p, const std::string& role, bool from_checkpoint);

} // namespace millrace::actors
