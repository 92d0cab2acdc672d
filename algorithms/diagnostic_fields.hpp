#pragma once

#include "algorithms/diagnostics.hpp"

#include <type_traits>

namespace millrace::algorithms {

// `each_field(figures, visit)` calls `visit(name, field)` for every figure: what is written, sent or summed is said
// once.

template <class Figures, class Visit>
requires std::is_same_v<std::remove_const_t<Figures>, age_figures>

void each_field(Figures& f, Visit&& visit) {
  visit("tokens", f.tokens);
  visit("clipped", f.clipped);
  visit("k1", f.k1);
  visit("k3", f.k3);
  visit("ratio", f.ratio);
  visit("largest_ratio", f.largest_ratio);
  visit("entropy", f.entropy);
}

template <class Seen, class Visit>
requires std::is_same_v<std::remove_const_t<Seen>, diagnostics>

void each_field(Seen& d, Visit&& visit) {
  visit("tokens", d.tokens);
  visit("clipped", d.clipped);
  visit("truncated", d.truncated);
  visit("masked", d.masked);
  visit("behaviour_difference", d.behaviour_difference);
  visit("behaviour_k3", d.behaviour_k3);
  visit("proximal_k3", d.proximal_k3);
  visit("reference_kl", d.reference_kl);
  visit("weight", d.weight);
  visit("weight_squared", d.weight_squared);
  visit("largest_weight", d.largest_weight);
  visit("entropy", d.entropy);
  visit("by_age", d.by_age);
}

} // namespace millrace::algorithms
