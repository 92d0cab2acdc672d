#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <string_view>

namespace millrace::algorithms {

/// Ages of tokens (versions between sampling and training) that figures are kept apart by.
inline constexpr std::array<std::string_view, 6> age_words{"0", "1", "2", "3-4", "5-8", "9+"};

/// Sums over the trained tokens of one age, gathered by a step's loss. l: current, b: behaviour log-probability.
struct age_figures {
  std::int64_t tokens = 0;  ///< counted once for each pass over the token
  std::int64_t clipped = 0; ///< tokens whose gradient the surrogate cut
  double k1 = 0;            ///< sum of b - l
  double k3 = 0;            ///< sum of exp(l - b) - (l - b) - 1
  double ratio = 0;         ///< sum of exp(l - b)
  double largest_ratio = 0;
  double entropy = 0; ///< sum of the entropies the caller adds, nats

  age_figures& operator+=(const age_figures& other);
};

/// Sums over tokens, gathered by a step's loss. Micro-batches add up; the member functions make means of the sums.
/// l: current, b: behaviour log-probability, w: the importance weight that was used.
struct diagnostics {
  std::int64_t tokens = 0;
  std::int64_t clipped = 0;        ///< tokens whose gradient the surrogate cut
  std::int64_t truncated = 0;      ///< tokens whose importance weight met its cap
  std::int64_t masked = 0;         ///< tokens that a correction took out
  double behaviour_difference = 0; ///< sum of b - l
  double behaviour_k3 = 0;         ///< sum of exp(l - b) - (l - b) - 1
  double proximal_k3 = 0;          ///< sum of exp(l - p) - (l - p) - 1, p: the anchor of the surrogate
  double reference_kl = 0;         ///< sum of the KL term's estimator, 0 without a reference
  double weight = 0;               ///< sum of w
  double weight_squared = 0;       ///< sum of w^2
  double largest_weight = 0;       ///< max of w
  double entropy = 0;              ///< sum of the entropies the caller adds, nats
  std::array<age_figures, age_words.size()> by_age{}; ///< where versions are known

  /// Counts tokens whose gradient a loss cut. @param cut [N] bool
  void count_clipped(const at::Tensor& cut);
  at::Tensor cut; ///< the last `cut` that was counted, for `by_age`; not part of the sum

  diagnostics& operator+=(const diagnostics& other);

  double clip_fraction() const { return mean(static_cast<double>(clipped)); }

  double truncated_fraction() const { return mean(static_cast<double>(truncated)); }

  double masked_fraction() const { return mean(static_cast<double>(masked)); }

  /// KL(behaviour || current), Schulman's k1: unbiased, may be negative.
  double kl_k1() const { return mean(behaviour_difference); }

  /// KL(behaviour || current), Schulman's k3: unbiased, never negative.
  double kl_k3() const { return mean(behaviour_k3); }

  /// KL(proximal || current), k3: how far the updates of one step have gone.
  double proximal_kl() const { return mean(proximal_k3); }

  double mean_reference_kl() const { return mean(reference_kl); }

  double mean_weight() const { return mean(weight); }

  double mean_entropy() const { return mean(entropy); }

  /// (sum w)^2 / (tokens * sum w^2), in (0, 1]; 1 without tokens.
  double effective_sample_fraction() const;

private:
  double mean(double sum) const { return tokens ? sum / static_cast<double>(tokens) : 0; }
};

} // namespace millrace::algorithms
