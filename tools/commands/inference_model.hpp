#pragma once

#include "runtime/model/checkpoint.hpp"
#include "runtime/model/decoder.hpp"
#include "runtime/words/cores.hpp"
#include "runtime/words/precision.hpp"
#include "tools/command.hpp"

#include <c10/core/Device.h>
#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace millrace::tools {

/// How a command computes with a model.
struct inference_options {
  int threads = static_cast<int>(cores_here());
  std::string device = "auto";
  std::string dtype = "float32";  ///< a word of `sampling_precision`: what matrices are kept as
  std::string template_name = {}; ///< of a chat template that goes before the model's own; "" = the model's own
};

/// --threads, --device, --dtype, --template.
std::vector<argument> model_arguments(inference_options& into);

/// A model ready to generate and score.
struct inference_model {
  model::checkpoint about; ///< without parameters: the policy has them
  std::shared_ptr<const model::decoder> policy;
};

/// @param template_name as `inference_options`
/// @throws input_error as `load_checkpoint`, and for a model without a tokenizer
inference_model load_inference_model(const std::filesystem::path& path, const std::string& template_name,
                                     at::Device device, sampling_precision kept);

/// @throws input_error likewise, and for a GPU that keeps float32 alone
inference_model load_inference_model(const std::filesystem::path& path, const inference_options& how);

/// What a prompt of text is.
enum class text_prompt {
  message, ///< one user message
  as_is,   ///< taken as it stands, with the tokenizer's BOS if it has one
};

/// The tokens of a prompt. Messages go through the chat template, with the assistant's turn opened.
/// @param prompt a string or an array of {role, content}
/// @throws input_error with the reason alone
std::vector<std::int32_t> encode_prompt(const inference_model& model, const nlohmann::json& prompt, text_prompt text);

/// One line of a JSONL file: an object.
struct json_row {
  std::string where; ///< `file:line`
  std::shared_ptr<const nlohmann::json> value;
};

/// Every row of a file; empty lines are passed over.
/// @throws input_error `file:line: found, want` for a line that is no JSON object, or `file: ...` for no rows at all
std::vector<json_row> read_json_rows(const std::filesystem::path& file);

/// [0.5,-1.25]: numbers with as many digits as bring the same float back.
std::string json_array(const std::vector<float>& values);
std::string json_array(const std::vector<std::int32_t>& values);

} // namespace millrace::tools
