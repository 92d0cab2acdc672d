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

/// The names of all moments, each with a tensor of its shape. Sorted by name.
model::weights moment_shapes(const adamw& optimizer) {
  model::weights out;
  for (const auto& parameter : optimizer.parameters()) {
    out.push_back({parameter.name + ".m", parameter.tensor});
    out.push_back({parameter.name + ".v", parameter.tensor});
  }
  std::ranges::sort(out, {}, &model::named_tensor::name);
  return out;
}

model::weights_file_parts parts_of(const adamw& optimizer, const model::weights& shapes,
                                   const std::filesystem::path& folder) {
  return {folder / state_file, shapes, {{"steps", std::to_string(optimizer.steps())}}};
}

} // namespace

void make_optimizer_file(const adamw& optimizer, const std::filesystem::path& folder) {
  parts_of(optimizer, moment_shapes(optimizer), folder).make_room();
}

void write_moments(const adamw& optimizer, const std::filesystem::path& folder) {
  const auto shapes = moment_shapes(optimizer);
  auto file = parts_of(optimizer, shapes, folder);
  const auto write = [&](const parameter_piece& piece, const char* ending, const at::Tensor& moment) {
    const auto name = optimizer.parameters()[piece.parameter].name + ending;
    const auto at = std::ranges::lower_bound(shapes, name, {}, &model::named_tensor::name);
    file.write(static_cast<std::size_t>(at - shapes.begin()), piece.begin, moment);
  };
  for (std::size_t i = 0; i < optimizer.pieces().size(); ++i) {
    const auto& piece = optimizer.pieces()[i].where;
    write(piece, ".m", optimizer.first_moments()[i]);
    write(piece, ".v", optimizer.second_moments()[i]);
  }
  file.finish();
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
