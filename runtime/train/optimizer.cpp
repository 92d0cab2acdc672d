#include "runtime/train/optimizer.hpp"

#include "runtime/text/pattern.hpp"
#include "runtime/words/input_error.hpp"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
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

adamw::adamw(model::weights parameters, optimizer_options options, std::vector<updated_piece> own)
    : parameters_(std::move(parameters)), options_(std::move(options)), pieces_(std::move(own)) {
  check(options_);
  for (const auto& piece : pieces_) {
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
      if (pieces_[piece].where.parameter == i)
        found->members.push_back(piece);
  }
  for (std::size_t g = 0; g < matched.size(); ++g)
    if (matched[g] == 0 && !parameters_.empty())
      throw input_error("optimizer.groups." + std::to_string(g) + ".match: found \"" + options_.groups[g].match
                        + "\", which no parameter left by the groups before it matches; their names are like \""
                        + parameters_.front().name + "\"");
}

double adamw::step(double scale, std::int64_t s) {
  const at::NoGradGuard no_grad;
  const double lr = learning_rate(options_, s);
  ++steps_;
  for (const slice& part : slices_) {
    if (part.lr_factor == 0 || part.members.empty())
      continue;
    std::vector<at::Tensor> parameters, gradients, first, second, steps;
    for (const std::size_t i : part.members) {
      const at::Tensor& p = pieces_[i].values;
      parameters.push_back(p);
      gradients.push_back(pieces_[i].gradients);
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

} // namespace millrace::train
