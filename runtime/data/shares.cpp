#include "runtime/data/shares.hpp"

#include <algorithm>
#include <cmath>

namespace millrace::data {

std::uint64_t whole_weight(double weight) {
  return std::max<std::uint64_t>(1, static_cast<std::uint64_t>(std::llround(weight * 1e6)));
}

std::size_t whose_turn(std::span<const share> shares) {
  __extension__ using wide = __int128;
  wide sum = 0, turn = 1, others = -1;
  for (const share& one : shares)
    if (!one.ended) {
      sum += one.weight;
      turn += one.given;
      ++others;
    }
  const wide spread = std::max<wide>(2 * others, 1); // of k: 2k - 2
  std::size_t next = shares.size();
  wide next_room = 0;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    if (shares[i].ended)
      continue;
    // Behind by so many turns, times `sum`, if another one has this turn.
    const wide behind = static_cast<wide>(shares[i].weight) * turn - static_cast<wide>(shares[i].given) * sum;
    if (others > 0 && behind * spread < sum)
      continue;
    // `room` over `weight`, over `sum` and `spread`: turns until it must have one.
    const wide room = sum * (spread - 1) - behind * spread;
    if (next == shares.size() || room * shares[next].weight < next_room * shares[i].weight) {
      next = i;
      next_room = room;
    }
  }
  return next;
}

} // namespace millrace::data
