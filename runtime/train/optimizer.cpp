#include "runtime/train/optimizer.hpp"

#include "runtime/formats/safetensors.hpp"
#include "runtime/model/float_tensor.hpp"
#include "runtime/model/weights_file.hpp"
#include "runtime/text/pattern.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <stdexcept>

namespace millrace::train {
namespace {

void want(bool holds, const char* field, double found, const char* range) {
  if (!holds)
    throw std::invalid_argument("optimizer." + std::string(field) + ": " + std::to_string(found) + ", want " + range);
}

void check(const optimizer_options& o) {
  want(o.lr >= 0, "lr", o.lr, ">= 0");
  want(o.beta1 >= 0 && o.beta1 < 1, "beta1", o.beta1, "0 <= beta1 < 1");
  want(o.beta2 >= 0 && o.beta2 < 1, "beta2", o.beta2, "0 <= beta2 < 1");
  want(o.eps > 0, "eps", o.eps, "> 0");
  want(o.weight_decay >= 0, "weight_decay", o.weight_decay, ">= 0");
  want(o.warmup_steps >= 0, "warmup_steps", static_cast<double>(o.warmup_steps), ">= 0");
  want(o.schedule == decay::constant || o.total_steps > o.warmup_steps, "total_steps",
       static_cast<double>(o.total_steps), "more than warmup_steps");
  want(o.final_lr_fraction >= 0 && o.final_lr_fraction <= 1, "final_lr_fraction", o.final_lr_fraction, "0 to 1");
  want(o.stable_share >= 0 && o.stable_share <= 1, "stable_share", o.stable_share, "0 to 1");
  want(o.clip_norm >= 0, "clip_norm", o.clip_norm, ">= 0");
  for (const auto& group : o.groups) {
    want(group.lr.value_or(0) >= 0, "groups.lr", group.lr.value_or(0), ">= 0");
    want(!group.lr || o.lr > 0, "lr", o.lr, "> 0 where a group has a learning rate of its own");
    want(group.weight_decay.value_or(0) >= 0, "groups.weight_decay", group.weight_decay.value_or(0), ">= 0");
  }
}

} // namespace

adamw::adamw(model::weights parameters, optimizer_options options, const std::vector<updated_piece>& own)
    : parameters_(std::move(parameters)), options_(std::move(options)) {
  check(options_);
  for (const auto& piece : own) {
    pieces_.push_back(piece.where);
    first_.push_back(at::zeros_like(piece.values, at::MemoryFormat::Contiguous));
    second_.push_back(at::zeros_like(piece.values, at::MemoryFormat::Contiguous));
  }
  sort_into_slices();
}

void adamw::sort_into_slices() {
  std::vector<text::pattern> patterns;
  for (std::size_t g = 0; g < options_.groups.size(); ++g)
    patterns.emplace_back(options_.groups[g].match, "optimizer.groups." + std::to_string(g) + ".match");
  std::vector<std::size_t> matched(patterns.size(), 0);
  text::pattern::workspace own;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    std::size_t g = 0;
    while (g < patterns.size() && !patterns[g].find(parameters_[i].name, 0, own))
      ++g;
    slice wanted{1, options_.weight_decay, {}};
    if (g < patterns.size()) {
      ++matched[g];
      const auto& group = options_.groups[g];
      wanted.lr_factor = group.lr ? *group.lr / options_.lr : 1;
      wanted.weight_decay = group.weight_decay.value_or(options_.weight_decay);
    }
    if (parameters_[i].tensor.dim() <= 1 && !options_.decay_norms)
      wanted.weight_decay = 0;
    auto found = std::find_if(slices_.begin(), slices_.end(), [&](const slice& s) {
      return s.lr_factor == wanted.lr_factor && s.weight_decay == wanted.weight_decay;
    });
    if (found == slices_.end())
      found = slices_.insert(slices_.end(), wanted);
    for (std::size_t piece = 0; piece < pieces_.size(); ++piece)
      if (pieces_[piece].parameter == i)
        found->members.push_back(piece);
  }
  for (std::size_t g = 0; g < matched.size(); ++g)
    if (matched[g] == 0 && !parameters_.empty())
      throw input_error("optimizer.groups." + std::to_string(g) + ".match: found \"" + options_.groups[g].match
                        + "\", which no parameter left by the groups before it matches; their names are like \""
                        + parameters_.front().name + "\"");
}

double adamw::step(double scale, std::int64_t s, const std::vector<updated_piece>& own) {
  const at::NoGradGuard no_grad;
  const double lr = learning_rate(options_, s);
  ++steps_;
  for (const slice& part : slices_) {
    if (part.lr_factor == 0 || part.members.empty())
      continue;
    std::vector<at::Tensor> parameters, gradients, first, second, steps;
    for (const std::size_t i : part.members) {
      const at::Tensor& p = own.at(i).values;
      parameters.push_back(p);
      gradients.push_back(own[i].gradients);
      first.push_back(first_[i]);
      second.push_back(second_[i]);
      steps.push_back(at::full({}, static_cast<float>(steps_), p.options().dtype(at::kFloat).requires_grad(false)));
    }
    // The fused update divides gradients by `grad_scale`.
    const at::Tensor divisor =
        at::full({}, static_cast<float>(1 / scale), parameters[0].options().dtype(at::kFloat).requires_grad(false));
    at::_fused_adamw_(parameters, gradients, first, second, {}, steps, lr * part.lr_factor, options_.beta1,
                      options_.beta2, part.weight_decay, options_.eps, false, false,
                      scale == 1 ? std::nullopt : std::optional(divisor));
  }
  return lr;
}

// -- its file ---------------------------------------------------------------------------------------------------------

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
    const auto& piece = optimizer.pieces()[i];
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
    first.push_back(read(piece, ".m"));
    second.push_back(read(piece, ".v"));
  }
  for (std::size_t i = 0; i < first.size(); ++i) {
    optimizer.first_moments()[i].copy_(first[i]);
    optimizer.second_moments()[i].copy_(second[i]);
  }
  optimizer.set_steps(steps);
}

} // namespace millrace::train
