#pragma once

#include <cstddef>
#include <vector>

namespace millrace::algorithms {

/// Questions of one domain by how their answers fared.
struct reward_clusters {
  std::vector<std::size_t> of; ///< cluster of each question
  std::vector<double> size;    ///< questions in each cluster
  std::vector<double> mean;    ///< mean reward of each cluster
};

/// k-means over the questions' reward vectors, k by an elbow: the first k whose next step takes less than `tolerance` of
/// what the step before it took off the sum of squares, at most `most` and the number of different vectors.
///
/// Deterministic: a question's rewards are sorted, so that the order of answers changes nothing; the first centre is the
/// smallest vector, each next one the vector farthest from those there are; then Lloyd's iterations until nothing moves.
/// Vectors of different lengths are stretched to the longest.
///
/// @param rewards one vector a question, none empty
reward_clusters cluster_rewards(std::vector<std::vector<double>> rewards, std::size_t most = 10, double tolerance = 0.1);

} // namespace millrace::algorithms
