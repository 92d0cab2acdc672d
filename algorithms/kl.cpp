#include "algorithms/kl.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace millrace::algorithms {
namespace {

/// @param d ref - logprob
at::Tensor plain(kl_estimator estimator, const at::Tensor& d) {
  switch (estimator) {
  case kl_estimator::k1:
  case kl_estimator::k1_straight:
  case kl_estimator::k1_score:
    return -d;
  case kl_estimator::k2:
  case kl_estimator::k2_score:
    return d.square() / 2;
  case kl_estimator::k3:
  case kl_estimator::k3_straight:
  case kl_estimator::k3_score: {
    const at::Tensor bounded = d.clamp(-kl_clamps::k3_input, kl_clamps::k3_input);
    return bounded.exp() - bounded - 1;
  }
  }
  throw std::invalid_argument("KL estimator: not one of those named");
}

bool has_score(kl_estimator e) {
  return e >= kl_estimator::k1_score;
}

bool is_straight(kl_estimator e) {
  return e == kl_estimator::k1_straight || e == kl_estimator::k3_straight;
}

} // namespace

at::Tensor kl_term(kl_estimator estimator, const at::Tensor& logprob, const at::Tensor& ref_logprob,
                   const kl_clamps& clamps) {
  TORCH_CHECK(logprob.sizes() == ref_logprob.sizes(), "ref_logprob: want ", logprob.sizes(), ", got ",
              ref_logprob.sizes());
  const at::Tensor whole = ref_logprob.detach() - logprob;
  const at::Tensor d = clamps.input > 0 ? whole.clamp(-clamps.input, clamps.input) : whole;
  at::Tensor kl = plain(estimator, d);
  if (has_score(estimator)) {
    const at::Tensor one = (logprob - logprob.detach()).exp();
    kl = kl * (clamps.input > 0 ? at::where(whole.eq(d), one, one.detach()) : one);
  }
  if (clamps.output > 0)
    kl = kl.clamp(-clamps.output, clamps.output);
  if (is_straight(estimator)) {
    const at::Tensor slope = whole.square() / 2;
    kl = slope - slope.detach() + kl.detach();
  }
  return kl;
}

kl_estimator kl_estimator_named(std::string_view name) {
  const auto found = std::find(kl_estimator_words.begin(), kl_estimator_words.end(), name);
  if (found == kl_estimator_words.end()) {
    std::string known;
    for (const std::string_view word : kl_estimator_words)
      known += (known.empty() ? "" : word == kl_estimator_words.back() ? " or " : ", ") + std::string(word);
    throw std::invalid_argument("KL estimator '" + std::string(name) + "': unknown, want " + known);
  }
  return static_cast<kl_estimator>(found - kl_estimator_words.begin());
}

} // namespace millrace::algorithms
