#pragma once

#include <cstddef>
#include <vector>

namespace millrace::algorithms {

/// The questions of one domain, clustered by the rewards of their answers.
struct reward_clusters {
  std::vector<std::size_t> of; ///< cluster of each question
  std::vector<double> size;    ///< questions in each cluster
  std::vector<double> mean;    ///< mean reward of each cluster
};

/// k-means over the questions' reward vectors. An elbow chooses k: another cluster is added while it lowers the sum of
/// squares by at least `tolerance` times what the last cluster lowered it by. k is at most `most` and at most the
/// number of different vectors.
///
/// Deterministic: a question's rewards are sorted, so that the order of answers changes nothing; the first centre is
/// the smallest vector, each next one the vector farthest from those there are; then Lloyd's iterations until nothing
/// moves. Vectors of different lengths are stretched to the longest.
///
/// @param rewards the rewards of each question's answers, at least one each
reward_clusters cluster_rewards(std::vector<std::vector<double>> rewards, std::size_t most = 10,
                                double tolerance = 0.1);

} // namespace millrace::algorithms
