#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::algorithms {

/// Which numbers of its range an option takes.
enum class range : std::uint8_t {
  closed,        ///< all of them, both ends too
  whole,         ///< the integers: switches, and choices by number
  zero_or_above, ///< 0, which switches it off, or a number above the low end
};

/// A number that tunes an algorithm or a correction. A switch is 0 or 1; a choice among words is the index of the word.
struct hyperparameter {
  std::string_view name;
  double fallback;          ///< used where the pipeline sets nothing
  double low, high;         ///< the range
  std::string_view meaning; ///< one line, with its unit
  /// Not empty: a pipeline writes one of these words; low is 0, high the index of the last.
  std::span<const std::string_view> words = {};
  range takes = range::closed;
};

/// Whether `o` may have this value. NaN never.
bool holds(const hyperparameter& o, double value);

/// "0 to 1", "0, or above 1 up to 10", "whole, 0 to 2".
std::string range_in_words(const hyperparameter& o);

/// The same option with another default.
constexpr hyperparameter with_fallback(hyperparameter o, double fallback) {
  o.fallback = fallback;
  return o;
}

/// The number that stands for `word`. @throws std::invalid_argument for an unknown word, naming the words of `o`
double number_of(const hyperparameter& o, std::string_view word);

/// The options of one algorithm or correction with their values.
class hyperparameter_values {
public:
  /// @param set values by name; an option that is absent takes its default
  /// @throws std::invalid_argument for an unknown name ("did you mean") or a value out of range, naming both
  explicit hyperparameter_values(std::span<const hyperparameter> options,
                                 const std::map<std::string, double>& set = {});

  /// @param name one of the row's own options; any other is a bug and throws std::out_of_range
  double get(std::string_view name) const;

  bool on(std::string_view name) const { return get(name) != 0; }

  /// The word that a choice stands at. @throws std::out_of_range for an option that is not a choice
  std::string_view word(std::string_view name) const;

private:
  std::size_t index_of(std::string_view name) const;

  std::span<const hyperparameter> options_;
  std::vector<double> values_;
};

} // namespace millrace::algorithms
