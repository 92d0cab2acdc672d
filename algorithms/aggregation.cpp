#include "algorithms/aggregation.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace millrace::algorithms {

at::Tensor aggregate(aggregation how, const at::Tensor& losses, const at::Tensor& length, const step_totals& totals) {
  TORCH_CHECK(losses.dim() == 1, "losses: want [N], got ", losses.sizes());
  switch (how) {
  case aggregation::token_mean:
    return losses.sum() / std::max<std::int64_t>(totals.tokens, 1);
  case aggregation::sequence_mean: {
    const at::Tensor weight = length.clamp_min(1).to(losses.scalar_type()).reciprocal().repeat_interleave(length);
    return (losses * weight).sum() / std::max<std::int64_t>(totals.answers, 1);
  }
  }
  throw std::invalid_argument("aggregation: not one of token_mean, sequence_mean");
}

aggregation aggregation_named(std::string_view name) {
  if (name == "token_mean")
    return aggregation::token_mean;
  if (name == "sequence_mean")
    return aggregation::sequence_mean;
  throw std::invalid_argument("aggregation '" + std::string(name) + "': unknown, want token_mean or sequence_mean");
}

} // namespace millrace::algorithms
