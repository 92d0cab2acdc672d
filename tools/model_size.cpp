#include "tools/model_size.hpp"

#include "kernels/packed_matrix.hpp"
#include "runtime/model/checkpoint.hpp"

#include <ATen/core/Tensor.h>

#include <map>
#include <utility>

namespace millrace::tools {
namespace {

model_size read_model_size(const std::filesystem::path& path) {
  auto about = model::load_checkpoint(path, {.weights = false, .shapes = true, .score_head = true});
  model_size size{.config = about.config, .shapes = std::move(about.parameters)};
  for (const auto& [name, tensor] : size.shapes) {
    const auto bytes = tensor.numel() * number_bytes;
    const bool table = name == "model.embed_tokens.weight";
    size.weights += bytes;
    size.stored += kept_as(tensor.scalar_type() == at::kBFloat16 ? precision::bfloat16 : precision::float32, bytes);
    size.table += table ? bytes : 0;
    size.adapted += name.ends_with("_proj.weight") ? bytes : 0;
    if (tensor.dim() == 2) {
      const auto packed = [&tensor](kernels::storage stored_as) {
        return static_cast<std::int64_t>(kernels::packed_matrix::bytes_of(tensor.size(0), tensor.size(1), stored_as));
      };
      size.packed += packed(kernels::storage::float32);
      size.packed_int8 += packed(kernels::storage::int8);
    }
  }
  return size;
}

} // namespace

const model_size& model_size_of(const std::filesystem::path& path) {
  static std::map<std::filesystem::path, model_size> known;
  const auto found = known.find(path);
  return found != known.end() ? found->second : known.emplace(path, read_model_size(path)).first->second;
}

std::int64_t kept_as(precision kept, std::int64_t bytes) {
  return bytes * bytes_a_number(kept) / bytes_a_number(precision::float32);
}

std::int64_t packed_as(sampling_precision kept, const model_size& size) {
  switch (kept) {
  case sampling_precision::float32:
    return size.packed;
  case sampling_precision::bfloat16:
    return kept_as(precision::bfloat16, size.packed);
  case sampling_precision::int8:
    break;
  }
  return size.packed_int8;
}

} // namespace millrace::tools
