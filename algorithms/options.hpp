#pragma once

#include <initializer_list>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace millrace::algorithms {

/// One number an algorithm can be tuned by. A switch is a number that is 0 or 1.
struct option {
  std::string_view name;
  double fallback;          ///< used where nothing is set
  double low, high;         ///< inclusive range
  std::string_view meaning; ///< one line, with its unit
};

/// The options of one algorithm with their values.
class option_values {
public:
  /// @param set values by name; what is absent takes its default
  /// @throws std::invalid_argument for an unknown name ("did you mean") or a value out of range, naming both
  explicit option_values(std::span<const option> options, const std::map<std::string, double>& set = {});

  /// @param name one of the algorithm's own options; any other is a bug and throws std::out_of_range
  double get(std::string_view name) const;
  bool on(std::string_view name) const { return get(name) != 0; }

private:
  std::span<const option> options_;
  std::vector<double> values_;
};

} // namespace millrace::algorithms
