#include "runtime/train/optimizer_state.hpp"

#include "runtime/formats/safetensors.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/model/weights_file.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/ATen.h>

#include <charconv>

namespace millrace::train {
namespace {

constexpr const char* state_file = "optimizer.safetensors";

} // namespace

void save_optimizer(const adamw& optimizer, const std::filesystem::path& folder) {
  model::write_safetensors(folder / state_file, optimizer.moments(), model::saved_dtype::float32,
                           {{"steps", std::to_string(optimizer.steps())}});
}

void load_optimizer(adamw& optimizer, const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / state_file;
  const formats::safetensors_file file(path);
  const auto found = file.metadata().find("steps");
  std::int64_t steps = -1;
  if (found != file.metadata().end())
    std::from_chars(found->second.data(), found->second.data() + found->second.size(), steps);
  if (steps < 0)
    throw input_error(path.string() + ": no number of steps, want a file that this program wrote");
  const model::weights moments = optimizer.moments();
  if (file.tensors().size() != moments.size())
    throw input_error(path.string() + ": " + std::to_string(file.tensors().size()) + " tensors, want "
                      + std::to_string(moments.size()));
  std::vector<at::Tensor> read;
  for (const auto& [name, tensor] : moments) {
    const formats::stored_tensor* stored = file.find(name);
    if (!stored)
      throw input_error(path.string() + ": no tensor '" + name + "'");
    read.push_back(model::to_float32(*stored));
    if (read.back().sizes() != tensor.sizes())
      throw input_error(path.string() + ": tensor '" + name + "' is of another shape, want this model's");
  }
  for (std::size_t i = 0; i < moments.size(); ++i)
    moments[i].tensor.copy_(read[i]);
  optimizer.set_steps(steps);
}

} // namespace millrace::train
