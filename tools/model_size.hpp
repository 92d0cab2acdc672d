#pragma once

#include "runtime/model/model_config.hpp"
#include "runtime/model/weights.hpp"
#include "runtime/words/precision.hpp"

#include <cstdint>
#include <filesystem>

namespace millrace::tools {

/// Of what is computed with.
inline constexpr std::int64_t number_bytes = bytes_a_number(precision::float32);

/// What a model is, without its weights. Bytes are those of fp32 unless they say more.
struct model_size {
  model::model_config config;
  model::weights shapes;
  std::int64_t weights = 0; ///< bytes
  std::int64_t table = 0;   ///< bytes of the embedding
  std::int64_t packed = 0;  ///< bytes of the matrices as an engine lays them out
  std::int64_t packed_int8 = 0;
  std::int64_t stored = 0;  ///< bytes in bfloat16 where the files have it so, else in fp32
  std::int64_t adapted = 0; ///< bytes of the linear layers of blocks
};

/// Reads each model's files once: a change is looked for by planning again and again. @throws input_error
const model_size& model_size_of(const std::filesystem::path& path);

/// Bytes of fp32 numbers as another precision has them.
std::int64_t kept_as(precision kept, std::int64_t bytes);

/// Bytes of the matrices as an engine lays them out.
std::int64_t packed_as(sampling_precision kept, const model_size& size);

} // namespace millrace::tools
