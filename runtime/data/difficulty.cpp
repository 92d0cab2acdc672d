#include "runtime/data/difficulty.hpp"

#include "runtime/data/shuffle.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace millrace::data {
namespace {

constexpr std::uint64_t whole = 65536;
constexpr std::uint32_t unknown_rate = unusable_rate - 1;
constexpr std::uint64_t longest_rest = 256;

} // namespace

difficulty::difficulty(std::uint64_t rows, std::uint64_t seed)
    : seed_(seed), rest_(std::min(rows / 4, longest_rest)), rates_(rows, unknown_rate), weights_(rows, 0),
      sums_(rows + 1, 0) {
  for (std::uint64_t row = 0; row < rows; ++row)
    set_weight(row, weight_of(row));
}

std::uint64_t difficulty::weight_of(std::uint64_t row) const {
  const std::uint64_t rate = rates_[row];
  if (rate == unusable_rate)
    return 0;
  return rate == unknown_rate ? 64 : 1 + 252 * rate * (whole - rate) / (whole * whole);
}

void difficulty::set_weight(std::uint64_t row, std::uint64_t weight) {
  const std::uint64_t more = weight - weights_[row]; // less: it wraps around, and so do the sums
  weights_[row] = static_cast<std::uint8_t>(weight);
  total_ += more;
  for (std::uint64_t at = row + 1; at < sums_.size(); at += at & (~at + 1))
    sums_[at] += more;
}

void difficulty::wake_oldest() {
  const auto row = resting_.front();
  resting_.pop_front();
  set_weight(row, weight_of(row));
}

std::optional<std::uint64_t> difficulty::draw() {
  while (total_ == 0 && !resting_.empty())
    wake_oldest();
  if (total_ == 0)
    return std::nullopt;
  std::uint64_t left = drawn_below(seed_, draws_++, total_);
  std::uint64_t row = 0; // the last one whose sum with all before it is at most `left`
  for (std::uint64_t step = std::bit_floor(sums_.size() - 1); step > 0; step /= 2)
    if (row + step < sums_.size() && sums_[row + step] <= left) {
      row += step;
      left -= sums_[row];
    }
  set_weight(row, 0);
  resting_.push_back(row);
  if (resting_.size() > rest_)
    wake_oldest();
  return row;
}

void difficulty::measured(std::uint64_t row, double share) {
  auto& rate = rates_[row];
  if (rate == unusable_rate)
    return;
  const auto result = static_cast<std::uint32_t>(std::lround(std::clamp(share, 0.0, 1.0) * static_cast<double>(whole)));
  rate = rate == unknown_rate ? result : (rate + result) / 2;
  if (weights_[row] > 0)
    set_weight(row, weight_of(row));
}

void difficulty::unusable(std::uint64_t row) {
  rates_[row] = unusable_rate;
  set_weight(row, 0);
}

difficulty_state difficulty::save() const {
  difficulty_state state{.draws = draws_, .measured = {}, .resting = {resting_.begin(), resting_.end()}};
  for (std::uint64_t row = 0; row < rates_.size(); ++row)
    if (rates_[row] != unknown_rate)
      state.measured.push_back({row, rates_[row]});
  return state;
}

void difficulty::restore(const difficulty_state& state) {
  draws_ = state.draws;
  resting_.assign(state.resting.begin(), state.resting.end());
  std::fill(rates_.begin(), rates_.end(), unknown_rate);
  for (const auto& [row, rate] : state.measured)
    rates_.at(row) = rate;
  for (std::uint64_t row = 0; row < rates_.size(); ++row)
    set_weight(row, weight_of(row));
  for (const auto row : resting_)
    set_weight(row, 0);
}

} // namespace millrace::data
