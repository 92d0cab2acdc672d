#include "algorithms/diagnostics.hpp"

#include <algorithm>

namespace millrace::algorithms {

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
  return *this;
}

double diagnostics::effective_sample_fraction() const {
  return weight_squared > 0 ? weight * weight / (static_cast<double>(tokens) * weight_squared) : 1;
}

} // namespace millrace::algorithms
