#pragma once

#include "runtime/data/shares.hpp"
#include "runtime/data/source.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace millrace::data {

/// One source of a mixture.
struct mixture_part {
  double weight = 1; ///< in (0, 1e6]
  std::unique_ptr<source> rows;
};

/// Where one source of a mixture stands.
struct mixture_place {
  position at;
  std::uint64_t given = 0; ///< of `share`
  bool ended = false;

  bool operator==(const mixture_place&) const = default;
};

/// A row of a mixture.
struct mixed_row {
  row what;
  std::size_t part = 0; ///< the source that it is of
};

/// Rows of several sources in turn (`whose_turn`). A source that has ended leaves its turns to the others. The order is
/// a function of the weights and the sources alone. Not thread-safe.
class mixture {
public:
  /// @param parts at least one
  explicit mixture(std::vector<mixture_part> parts);

  /// The next row, or nothing after the last source has ended. @throws input_error as the sources do
  std::optional<mixed_row> next();
  std::vector<mixture_place> save() const;
  /// Goes to places that `save` gave. @throws input_error if they are of other data
  void restore(const std::vector<mixture_place>& at);

private:
  std::vector<mixture_part> parts_;
  std::vector<share> shares_;
};

} // namespace millrace::data
