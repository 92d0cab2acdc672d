#include "runtime/report/least_squares.hpp"

#include <algorithm>
#include <cmath>
#include <optional>
#include <stdexcept>

namespace millrace::report {
namespace {

using matrix = std::vector<std::vector<double>>;

/// The solution of a system of equations by elimination with pivots; nothing where it has none.
std::optional<std::vector<double>> solved(matrix a, std::vector<double> b) {
  const auto n = b.size();
  for (std::size_t i = 0; i < n; ++i) {
    auto pivot = i;
    for (auto row = i + 1; row < n; ++row)
      if (std::abs(a[row][i]) > std::abs(a[pivot][i]))
        pivot = row;
    if (std::abs(a[pivot][i]) < 1e-9)
      return std::nullopt;
    std::swap(a[i], a[pivot]);
    std::swap(b[i], b[pivot]);
    for (auto row = i + 1; row < n; ++row) {
      const auto factor = a[row][i] / a[i][i];
      for (auto column = i; column < n; ++column)
        a[row][column] -= factor * a[i][column];
      b[row] -= factor * b[i];
    }
  }
  for (auto i = n; i-- > 0;) {
    for (auto column = i + 1; column < n; ++column)
      b[i] -= a[i][column] * b[column];
    b[i] /= a[i][i];
  }
  return b;
}

} // namespace

fit non_negative_fit(std::span<const std::vector<double>> rows, std::span<const double> values) {
  if (rows.empty())
    return {};
  const auto count = rows.front().size();
  if (count > 4 || rows.size() != values.size())
    throw std::invalid_argument("non_negative_fit: want at most 4 regressors, and a value for each row");
  // Columns of one size, so that the pivots say what they should.
  std::vector<double> size(count, 0);
  for (const auto& row : rows)
    for (std::size_t i = 0; i < count; ++i)
      size[i] += row[i] * row[i];
  matrix products(count, std::vector<double>(count, 0));
  std::vector<double> right(count, 0);
  for (auto& one : size)
    one = one > 0 ? std::sqrt(one) : 1;
  for (std::size_t r = 0; r < rows.size(); ++r)
    for (std::size_t i = 0; i < count; ++i) {
      right[i] += rows[r][i] / size[i] * values[r];
      for (std::size_t j = 0; j < count; ++j)
        products[i][j] += rows[r][i] / size[i] * (rows[r][j] / size[j]);
    }
  fit best{std::vector<double>(count, 0), 0};
  for (const auto value : values)
    best.squares += value * value;
  for (unsigned chosen = 1; chosen < 1u << count; ++chosen) {
    std::vector<std::size_t> which;
    for (std::size_t i = 0; i < count; ++i)
      if (chosen >> i & 1)
        which.push_back(i);
    matrix a;
    std::vector<double> b;
    for (const auto i : which) {
      auto& row = a.emplace_back();
      for (const auto j : which)
        row.push_back(products[i][j]);
      b.push_back(right[i]);
    }
    const auto found = solved(std::move(a), std::move(b));
    if (!found || std::any_of(found->begin(), found->end(), [](double x) { return x < 0; }))
      continue;
    fit one{std::vector<double>(count, 0), 0};
    for (std::size_t i = 0; i < which.size(); ++i)
      one.coefficients[which[i]] = (*found)[i] / size[which[i]];
    for (std::size_t r = 0; r < rows.size(); ++r) {
      double left = values[r];
      for (std::size_t i = 0; i < count; ++i)
        left -= one.coefficients[i] * rows[r][i];
      one.squares += left * left;
    }
    if (one.squares < best.squares * (1 - 1e-12))
      best = std::move(one);
  }
  return best;
}

} // namespace millrace::report
