#pragma once

#include "runtime/words/tensor_spec.hpp"

namespace millrace {

/// The right to pull one bundle from the node that published it. Small: it travels through CAF.
struct ticket {
  std::uint64_t owner = 0;              ///< node that holds the bundle
  std::uint64_t id = 0;                 ///< given by the owner, never given twice by one data plane; 0: no ticket
  std::uint64_t bytes = 0;              ///< sum of the columns' bytes
  std::vector<tensor_spec> layout;      ///< what the receiver makes room for
  std::vector<std::uint64_t> checksums; ///< one a column, bundle::checksums(); empty: not computed, not checked

  bool operator==(const ticket&) const = default;
};

} // namespace millrace
