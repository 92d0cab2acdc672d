#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace millrace::data {

/// One of several that take turns.
struct share {
  std::uint64_t weight = 1; ///< its share is this over the sum of all that have not ended; from 1 to 1e12
  std::uint64_t given = 0;  ///< turns that it had, since the start or since another one ended
  bool ended = false;       ///< it takes no turn any more, and `given` is 0
};

/// The weight of a share as a whole number, to six decimals. @param weight in (0, 1e6]
std::uint64_t whole_weight(double weight);

/// Whose turn it is. Turns that go to this one, one after another, are spread evenly: after every number n of turns
/// each has had n times its share of them to within less than 1, so that
///
/// - any run of turns, wherever it begins, holds the share of each to within less than 2, and
/// - where all shares are whole percents, any 100 turns in a row hold exactly that many of each.
///
/// To within 1 of the share for any run of turns cannot be had for three or more and every choice of weights.
/// @returns the place of one that has not ended; shares.size() if all have
///
/// Source: Tijdeman 1980, "The chairman assignment problem", Discrete Mathematics 32. Of those that may have the turn
/// it takes the one that would be the first to fall behind; ties by order. In whole numbers, so without rounding.
std::size_t whose_turn(std::span<const share> shares);

} // namespace millrace::data
