#include "algorithms/reward_clusters.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

namespace millrace::algorithms {
namespace {

using points = std::vector<std::vector<double>>;

double squared_distance(const std::vector<double>& a, const std::vector<double>& b) {
  return std::transform_reduce(a.begin(), a.end(), b.begin(), 0.0, std::plus<>(),
                               [](double x, double y) { return (x - y) * (x - y); });
}

std::size_t nearest(const std::vector<double>& x, const points& centres) {
  std::size_t best = 0;
  for (std::size_t c = 1; c < centres.size(); ++c)
    if (squared_distance(x, centres[c]) < squared_distance(x, centres[best]))
      best = c;
  return best;
}

struct clustering {
  points centres;
  std::vector<std::size_t> of;
  double squares = 0; ///< sum of squared distances to the centres
};

points first_centres(const points& all, std::size_t k) {
  points centres{*std::min_element(all.begin(), all.end())};
  while (centres.size() < k) {
    const auto away = [&](const std::vector<double>& x) { return squared_distance(x, centres[nearest(x, centres)]); };
    centres.push_back(*std::max_element(all.begin(), all.end(), [&](const auto& a, const auto& b) {
      return away(a) != away(b) ? away(a) < away(b) : a > b;
    }));
  }
  return centres;
}

/// @param k at most the number of different points, so that no cluster is ever empty at the start
clustering k_means(const points& all, std::size_t k) {
  constexpr int most_iterations = 300;
  clustering c{first_centres(all, k), std::vector<std::size_t>(all.size(), k), 0};
  for (int i = 0; i < most_iterations; ++i) {
    std::vector<std::size_t> of;
    for (const auto& x : all)
      of.push_back(nearest(x, c.centres));
    if (of == c.of)
      break;
    c.of = of;
    for (std::size_t j = 0; j < k; ++j) {
      std::vector<double> sum(all.front().size(), 0.0);
      double members = 0;
      for (std::size_t q = 0; q < all.size(); ++q)
        if (of[q] == j) {
          std::transform(sum.begin(), sum.end(), all[q].begin(), sum.begin(), std::plus<>());
          ++members;
        }
      if (members > 0) {
        for (double& x : sum)
          x /= members;
        c.centres[j] = sum;
      }
    }
  }
  for (std::size_t q = 0; q < all.size(); ++q)
    c.squares += squared_distance(all[q], c.centres[c.of[q]]);
  return c;
}

std::vector<double> stretched(const std::vector<double>& sorted, std::size_t n) {
  std::vector<double> out(n);
  for (std::size_t i = 0; i < n; ++i)
    out[i] = sorted[i * sorted.size() / n];
  return out;
}

} // namespace

reward_clusters cluster_rewards(std::vector<std::vector<double>> rewards, std::size_t most, double tolerance) {
  if (rewards.empty())
    return {};
  std::size_t longest = 0;
  for (auto& r : rewards) {
    std::sort(r.begin(), r.end());
    longest = std::max(longest, r.size());
  }
  for (auto& r : rewards)
    r = stretched(r, longest);
  const std::size_t cap = std::min(most, std::set<std::vector<double>>(rewards.begin(), rewards.end()).size());
  clustering best = k_means(rewards, 1);
  double taken = std::numeric_limits<double>::quiet_NaN();
  for (std::size_t k = 2; k <= cap; ++k) {
    clustering next = k_means(rewards, k);
    const double takes = best.squares - next.squares;
    if (takes < tolerance * taken)
      break;
    taken = takes;
    best = std::move(next);
  }
  reward_clusters out{best.of, std::vector<double>(best.centres.size(), 0.0), {}};
  for (const std::size_t c : best.of)
    ++out.size[c];
  for (const auto& centre : best.centres)
    out.mean.push_back(std::accumulate(centre.begin(), centre.end(), 0.0) / static_cast<double>(centre.size()));
  return out;
}

} // namespace millrace::algorithms
