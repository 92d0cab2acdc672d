#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

namespace millrace::data {

/// A row and the share of its answers that was right.
struct measured_row {
  std::uint64_t row = 0;
  std::uint32_t rate = 0; ///< in 65536ths; `unusable_rate`: the row cannot be used

  bool operator==(const measured_row&) const = default;
};

inline constexpr std::uint32_t unusable_rate = 0xffffffff;

/// What a `difficulty` goes on from.
struct difficulty_state {
  std::uint64_t draws = 0;
  std::vector<measured_row> measured; ///< those that were measured or cannot be used, by row
  std::vector<std::uint64_t> resting; ///< rows, the first one drawn first

  bool operator==(const difficulty_state&) const = default;
};

/// Which row comes next, by how often each was solved.
///
/// A row whose answers are right at the rate p is drawn with a chance in proportion to 1 + 252 p (1 - p): 64 at one
/// half, 1 where it is always or never solved, so that every row keeps a chance. A row that was never measured counts
/// as one of one half. The first result of a row is its rate, and each later one counts half: rate = (rate + result) /
/// 2. A row that was drawn rests for the next 256 draws, or for a quarter as many as there are rows if that is less.
///
/// The draws are a function of the seed and of the results so far, in whole numbers.
class difficulty {
public:
  /// @param rows at least 1
  difficulty(std::uint64_t rows, std::uint64_t seed);

  /// The next row, or nothing if none can be used.
  std::optional<std::uint64_t> draw();

  /// @param share of the row's answers that was right; counts as the nearest number in [0, 1]
  void measured(std::uint64_t row, double share);
  void unusable(std::uint64_t row);

  difficulty_state save() const;
  void restore(const difficulty_state& state);

private:
  std::uint64_t weight_of(std::uint64_t row) const;
  void set_weight(std::uint64_t row, std::uint64_t weight);
  void wake_oldest();

  std::uint64_t seed_;
  std::uint64_t draws_ = 0;
  std::size_t rest_;
  std::vector<std::uint32_t> rates_;  ///< by row
  std::vector<std::uint8_t> weights_; ///< by row; 0 = it rests, or cannot be used
  std::vector<std::uint64_t> sums_;   ///< Fenwick tree over the weights
  std::uint64_t total_ = 0;
  std::deque<std::uint64_t> resting_;
};

} // namespace millrace::data
