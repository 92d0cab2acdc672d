#pragma once

#include <cstdint>

namespace millrace::model {

/// Brings the parameters of a decoder's block before they are used and takes them away afterwards: for models whose
/// parameters no process holds whole. A training pass goes forward through all blocks and then back through all.
class block_weights {
public:
  virtual ~block_weights() = default;

  virtual void forward_begins(std::int64_t layer) = 0;
  virtual void forward_ends(std::int64_t layer) = 0;
  virtual void backward_begins(std::int64_t layer) = 0;

  /// The gradients of all its parameters are in their `.grad`.
  virtual void backward_ends(std::int64_t layer) = 0;
};

} // namespace millrace::model
