#pragma once

#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::algorithms {

/// One number an algorithm or a correction can be tuned by. A switch is a number that is 0 or 1; a choice among words is
/// the index of the word.
struct option {
  std::string_view name;
  double fallback;          ///< used where nothing is set
  double low, high;         ///< inclusive range
  std::string_view meaning; ///< one line, with its unit
  std::span<const std::string_view> words = {}; ///< not empty: a pipeline writes one of these; low 0, high one less than their count
};

/// The number that stands for `word`. @throws std::invalid_argument for a word that `o` does not have, naming those it has
double number_of(const option& o, std::string_view word);

/// The options of one algorithm or correction with their values.
class option_values {
public:
  /// @param set values by name; what is absent takes its default
  /// @throws std::invalid_argument for an unknown name ("did you mean") or a value out of range, naming both
  explicit option_values(std::span<const option> options, const std::map<std::string, double>& set = {});

  /// @param name one of the row's own options; any other is a bug and throws std::out_of_range
  double get(std::string_view name) const;
  bool on(std::string_view name) const { return get(name) != 0; }
  /// The word that a choice stands at. @throws std::out_of_range for an option that is not a choice
  std::string_view word(std::string_view name) const;

private:
  std::size_t index_of(std::string_view name) const;

  std::span<const option> options_;
  std::vector<double> values_;
};

} // namespace millrace::algorithms
