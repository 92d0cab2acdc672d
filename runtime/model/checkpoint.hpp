#pragma once

#include "runtime/model/model_config.hpp"
#include "runtime/model/weights.hpp"
#include "runtime/model/weights_file.hpp"
#include "runtime/text/chat_template.hpp"
#include "runtime/text/generation_config.hpp"
#include "runtime/text/tokenizer.hpp"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::model {

/// A model as it lies in a folder or a GGUF file.
///
/// An answer ends with any token of `config.eos_ids`: those that config.json, generation_config.json and the
/// `eos_token` of tokenizer_config.json name (in a GGUF, the ends of text, turn and message), and the one that ends a
/// turn of `chat`.
struct checkpoint {
  std::string origin; ///< the path it was read from, for error lines
  model_config config;
  weights parameters;                              ///< on the CPU, sorted by name, memory of their own
  std::shared_ptr<const text::tokenizer> tok;      ///< null: there is none
  std::shared_ptr<const text::chat_template> chat; ///< null: there is none, or it is of no known family
  std::string chat_source;                         ///< its Jinja text, also when `chat` is null; "" = none
  std::string tokenizer_config;                    ///< tokenizer_config.json as it was read; "" = none
  text::generation_defaults generation;
};

struct load_options {
  bool weights = true; ///< false: no tensor is read
  bool shapes = false; ///< without `weights`: `parameters` have their shapes, on the device "meta", and no values
  std::optional<precision> kept = precision::float32; ///< what the weights are read as; nothing: as `to_floats` says
  bool score_head = false; ///< a sequence-classification checkpoint is taken too, not only a language model
};

/// Reads a Hugging Face folder or a .gguf file.
/// @throws input_error, one line that names the file and the part: nothing there, an unknown architecture, a missing,
///         truncated or misshapen file, a tokenizer with more tokens than the embedding has rows
checkpoint load_checkpoint(const std::filesystem::path& path, load_options options = {});

/// Looks whether a decoder can be made of a model that was loaded with its shapes: each parameter is there, in the
/// shape that the configuration wants, and none is left over. @throws input_error that names the model and the
/// parameter
void check_shapes(const checkpoint& model);

/// Takes the chat template of that name instead of the model's own. The token that ends its turns is an end token too.
/// @throws input_error that lists the names if `name` is none of them
void use_chat_template(checkpoint& model, std::string_view name);

/// `chat`, or why there is none and what to do about it.
/// @throws input_error
const text::chat_template& chat_of(const checkpoint& model);

struct save_options {
  precision kept = precision::float32;
  std::int64_t shard_bytes = 5'000'000'000; ///< weights beyond it are spread over several files with an index
};

/// Writes the folder that `transformers` loads: config.json, generation_config.json, model.safetensors (or shards with
/// an index), tokenizer.json, tokenizer_config.json, chat_template.jinja. The folder appears whole or not at all.
/// @throws input_error when `folder` holds something already, or when the disk is full
void save_checkpoint(const std::filesystem::path& folder, const checkpoint& model, save_options options = {});

/// The same files into a folder that is there already and that the caller makes durable (as part of a larger
/// checkpoint): every file is synced, the folder is not.
void write_checkpoint_files(const std::filesystem::path& folder, const checkpoint& model, save_options options = {});

/// The same without the files of the weights. @param kept what those files keep
void write_description_files(const std::filesystem::path& folder, const checkpoint& model,
                             precision kept = precision::float32);

/// The files of the weights in fp32, filled side by side by several writers, each with its part of the numbers.
class checkpoint_parts {
public:
  /// @param shapes as all writers give them, sorted by name; no value of theirs is read
  checkpoint_parts(std::filesystem::path folder, const weights& shapes,
                   std::int64_t shard_bytes = save_options().shard_bytes);

  /// One of the writers, before any writes: the files, with room for every number, and their index. Those that are
  /// there are replaced.
  /// @throws input_error on a full disk or any other failure
  void make_room() const;

  /// @param begin of the parameter's numbers, row by row @param numbers on any device @throws input_error
  void write(std::size_t parameter, std::int64_t begin, const at::Tensor& numbers);

  /// The parts of this writer are on the disk. @throws input_error
  void finish();

private:
  std::filesystem::path folder_;
  std::vector<weights_file_parts> files_;
  std::vector<std::size_t> ends_; ///< of each file: one after its last parameter
  std::string index_;             ///< "": there is one file
};

} // namespace millrace::model
