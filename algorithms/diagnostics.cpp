#include "algorithms/diagnostics.hpp"

#include <ATen/ATen.h>

#include <algorithm>

namespace millrace::algorithms {

age_figures& age_figures::operator+=(const age_figures& other) {
  tokens += other.tokens;
  clipped += other.clipped;
  k1 += other.k1;
  k3 += other.k3;
  ratio += other.ratio;
  largest_ratio = std::max(largest_ratio, other.largest_ratio);
  entropy += other.entropy;
  return *this;
}

void diagnostics::count_clipped(const at::Tensor& which) {
  cut = which.detach();
  clipped += cut.sum().item<std::int64_t>();
}

diagnostics& diagnostics::operator+=(const diagnostics& other) {
  tokens += other.tokens;
  clipped += other.clipped;
  truncated += other.truncated;
  masked += other.masked;
  behaviour_difference += other.behaviour_difference;
  behaviour_k3 += other.behaviour_k3;
  proximal_k3 += other.proximal_k3;
  reference_kl += other.reference_kl;
  weight += other.weight;
  weight_squared += other.weight_squared;
  largest_weight = std::max(largest_weight, other.largest_weight);
  entropy += other.entropy;
  for (std::size_t i = 0; i < by_age.size(); ++i)
    by_age[i] += other.by_age[i];
  return *this;
}

double diagnostics::effective_sample_fraction() const {
  return weight_squared > 0 ? weight * weight / (static_cast<double>(tokens) * weight_squared) : 1;
}

} // namespace millrace::algorithms
