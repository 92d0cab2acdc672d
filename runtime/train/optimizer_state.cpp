#include "runtime/train/optimizer_state.hpp"

#include "runtime/formats/safetensors.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/model/weights_file.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <charconv>

namespace millrace::train {
namespace {

constexpr const char* state_file = "optimizer.safetensors";

} // namespace

model::weights named_moments(const model::weights& parameters, const std::vector<at::Tensor>& first,
                             const std::vector<at::Tensor>& second) {
  model::weights out;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    out.push_back({parameters[i].name + ".m", first[i]});
    out.push_back({parameters[i].name + ".v", second[i]});
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

void save_optimizer(const model::weights& moments, std::int64_t steps, const std::filesystem::path& folder) {
  model::write_safetensors(folder / state_file, moments, precision::float32, {{"steps", std::to_string(steps)}});
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
  const auto& parameters = optimizer.parameters();
  if (file.tensors().size() != 2 * parameters.size())
    throw input_error(path.string() + ": " + std::to_string(file.tensors().size()) + " tensors, want "
                      + std::to_string(2 * parameters.size()));
  const auto read = [&](const parameter_piece& piece, const char* ending) {
    const auto& [parameter, tensor] = parameters[piece.parameter];
    const std::string name = parameter + ending;
    const formats::stored_tensor* stored = file.find(name);
    if (!stored)
      throw input_error(path.string() + ": no tensor '" + name + "'");
    const at::Tensor whole = model::to_float32(*stored);
    if (whole.sizes() != tensor.sizes())
      throw input_error(path.string() + ": tensor '" + name + "' is of another shape, want this model's");
    return piece.of(whole);
  };
  std::vector<at::Tensor> first, second; // nothing changes before everything is read
  for (const auto& piece : optimizer.pieces()) {
    first.push_back(read(piece.where, ".m"));
    second.push_back(read(piece.where, ".v"));
  }
  for (std::size_t i = 0; i < first.size(); ++i) {
    optimizer.first_moments()[i].copy_(first[i]);
    optimizer.second_moments()[i].copy_(second[i]);
  }
  optimizer.set_steps(steps);
}

} // namespace millrace::train
