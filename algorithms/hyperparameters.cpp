#include "algorithms/hyperparameters.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>
#include <stdexcept>

namespace millrace::algorithms {
namespace {

/// Letters to change, add or remove to make one word of the other.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j)
    row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t corner = row[0]++;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t changed = corner + (a[i - 1] != b[j - 1]);
      corner = row[j];
      row[j] = std::min({changed, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

std::string unknown_option(std::string_view name, std::span<const hyperparameter> options) {
  std::ostringstream out;
  out << "option '" << name << "': unknown";
  const auto closest =
      std::min_element(options.begin(), options.end(), [&](const hyperparameter& a, const hyperparameter& b) {
        return edit_distance(name, a.name) < edit_distance(name, b.name);
      });
  if (closest != options.end() && edit_distance(name, closest->name) <= 3)
    out << ", did you mean '" << closest->name << "'?";
  return out.str();
}

} // namespace

bool holds(const hyperparameter& o, double value) {
  if (o.takes == range::zero_or_above)
    return value == 0 || (value > o.low && value <= o.high);
  const bool whole = o.takes == range::whole || !o.words.empty();
  return value >= o.low && value <= o.high && !(whole && value != std::floor(value));
}

std::string range_in_words(const hyperparameter& o) {
  std::ostringstream out;
  out.precision(12);
  out << (o.takes == range::whole           ? "whole, "
          : o.takes == range::zero_or_above ? "0, or above "
                                            : "")
      << o.low << (o.takes == range::zero_or_above ? " up to " : " to ") << o.high;
  return out.str();
}

double number_of(const hyperparameter& o, std::string_view word) {
  for (std::size_t i = 0; i < o.words.size(); ++i)
    if (o.words[i] == word)
      return static_cast<double>(i);
  std::string known;
  for (const std::string_view w : o.words)
    known += (known.empty() ? "" : ", ") + std::string(w);
  throw std::invalid_argument("option '" + std::string(o.name) + "': '" + std::string(word) + "', want one of "
                              + known);
}

hyperparameter_values::hyperparameter_values(std::span<const hyperparameter> options,
                                             const std::map<std::string, double>& set)
    : options_(options) {
  for (const auto& o : options_)
    values_.push_back(o.fallback);
  for (const auto& [name, value] : set) {
    const auto found =
        std::find_if(options_.begin(), options_.end(), [&](const hyperparameter& o) { return o.name == name; });
    if (found == options_.end())
      throw std::invalid_argument(unknown_option(name, options_));
    if (!holds(*found, value)) {
      std::ostringstream out;
      out << "option '" << name << "': " << value << ", want " << range_in_words(*found);
      throw std::invalid_argument(out.str());
    }
    values_[static_cast<std::size_t>(found - options_.begin())] = value;
  }
}

std::size_t hyperparameter_values::index_of(std::string_view name) const {
  for (std::size_t i = 0; i < options_.size(); ++i)
    if (options_[i].name == name)
      return i;
  throw std::out_of_range("no option '" + std::string(name) + "' in this row");
}

double hyperparameter_values::get(std::string_view name) const {
  return values_[index_of(name)];
}

std::string_view hyperparameter_values::word(std::string_view name) const {
  const std::size_t i = index_of(name);
  if (options_[i].words.empty())
    throw std::out_of_range("option '" + std::string(name) + "' of this row is no choice among words");
  return options_[i].words[static_cast<std::size_t>(values_[i])];
}

} // namespace millrace::algorithms
