#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace millrace::algorithms {

/// maj@n: the probability that the most frequent of n answers is correct, ties broken at random.
///
///     W = the votes that occur most often
///     maj@n = mean over w in W of (share of correct answers among the answers that say w)
///
/// @param vote    the result of each answer, written alike where the meaning is the same; "" casts no vote
/// @param correct 1 or 0 for each answer
/// @returns 0 where no answer casts a vote
/// @throws std::invalid_argument for spans of different lengths
///
/// Source: Wang et al. 2023, self-consistency, arXiv:2203.11171, section 2. Differs from it in: ties count by their
/// shares, where the paper leaves them open and code bases take the answer that came first.
double majority_vote(std::span<const std::string> vote, std::span<const std::uint8_t> correct);

} // namespace millrace::algorithms
