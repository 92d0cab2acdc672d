#include "algorithms/aggregation.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace millrace::algorithms {
namespace {

/// Sum over answers of each answer's sum of losses over `tokens` of it.
at::Tensor sum_of_means(const at::Tensor& losses, const at::Tensor& length, const at::Tensor& tokens) {
  return (losses * tokens.clamp_min(1).to(losses.scalar_type()).reciprocal().repeat_interleave(length)).sum();
}

double at_least_one(std::int64_t count) {
  return static_cast<double>(std::max<std::int64_t>(count, 1));
}

} // namespace

at::Tensor aggregate(aggregation how, const at::Tensor& losses, const at::Tensor& length,
                     const at::Tensor& group_tokens, const step_totals& totals, double constant) {
  TORCH_CHECK(losses.dim() == 1, "losses: want [N], got ", losses.sizes());
  switch (how) {
  case aggregation::token_mean:
    return losses.sum() / at_least_one(totals.tokens);
  case aggregation::sequence_mean:
    return sum_of_means(losses, length, length) / at_least_one(totals.answers);
  case aggregation::fixed_length:
    TORCH_CHECK(constant > 0, "aggregation fixed_length: want a length above 0, got ", constant);
    return losses.sum() / (at_least_one(totals.answers) * constant);
  case aggregation::group_mean:
    TORCH_CHECK(group_tokens.defined(), "group_tokens: missing, and the aggregation group_mean needs it");
    return sum_of_means(losses, length, group_tokens) / at_least_one(totals.groups);
  }
  throw std::invalid_argument("aggregation: not one of token_mean, sequence_mean, fixed_length, group_mean");
}

aggregation aggregation_named(std::string_view name) {
  for (std::size_t i = 0; i < aggregation_words.size(); ++i)
    if (aggregation_words[i] == name)
      return static_cast<aggregation>(i);
  throw std::invalid_argument("aggregation '" + std::string(name)
                              + "': unknown, want token_mean, sequence_mean, fixed_length or group_mean");
}

std::string_view name_of(aggregation how) {
  return aggregation_words.at(static_cast<std::size_t>(how));
}

} // namespace millrace::algorithms
