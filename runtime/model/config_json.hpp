#pragma once

#include "runtime/model/model_config.hpp"

#include <filesystem>
#include <string>
#include <string_view>

namespace millrace::model {

/// Reads a Hugging Face config.json of a known family: ...ForCausalLM, or ...ForSequenceClassification with one label
/// (`model_config::score_head`), with either spelling of the rotary settings (`rope_theta` and `rope_scaling`, or
/// `rope_parameters`). What this decoder does not compute (sliding windows, other activations, quantised weights, ...)
/// is refused by name.
/// @param source stands for the file in errors
/// @throws input_error `source: key: found, want`
model_config parse_config(std::string_view text, const std::string& source);

model_config read_config(const std::filesystem::path& path);

/// @param dtype "float32" or "bfloat16": what the weights beside it are stored as
/// @returns the JSON text of a config.json that `transformers` 4 and 5 read
std::string config_text(const model_config& config, std::string_view dtype);

/// Whether sizes fit together (heads divide, head_dim even, counts positive and within what can be addressed).
/// @throws input_error `source: key: found, want`
void check_config(const model_config& config, const std::string& source);

} // namespace millrace::model
