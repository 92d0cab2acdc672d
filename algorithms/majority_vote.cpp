#include "algorithms/majority_vote.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>

namespace millrace::algorithms {

double majority_vote(std::span<const std::string> vote, std::span<const std::uint8_t> correct) {
  if (vote.size() != correct.size())
    throw std::invalid_argument("majority_vote: correct: want " + std::to_string(vote.size())
                                + " entries, one a vote, got " + std::to_string(correct.size()));

  struct count {
    std::int64_t votes = 0, correct = 0;
  };

  std::map<std::string, count> counts;
  std::int64_t most = 0;
  for (std::size_t i = 0; i < vote.size(); ++i) {
    if (vote[i].empty())
      continue;
    auto& one = counts[vote[i]];
    one.correct += correct[i] != 0;
    most = std::max(most, ++one.votes);
  }
  double sum = 0, winners = 0;
  for (const auto& [said, one] : counts)
    if (one.votes == most) {
      sum += static_cast<double>(one.correct) / static_cast<double>(one.votes);
      ++winners;
    }
  return winners > 0 ? sum / winners : 0;
}

} // namespace millrace::algorithms
