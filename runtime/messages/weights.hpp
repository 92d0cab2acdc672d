#pragma once

#include "runtime/words/ticket.hpp"

#include <cstdint>

namespace millrace {

/// Make the parameters as they are now available as a version. coordinator -> whoever publishes weights.
struct publish_weights {
  std::uint32_t version = 0;
};

/// Answers `publish_weights`. The ticket lives until the next version's is published and acknowledged, longer if held.
struct weights_published {
  std::uint32_t version = 0;
  ticket parameters;
  double copy_s = 0;
};

/// Whether a version's parameters stay available however many are published after it. coordinator -> whoever publishes
/// weights.
struct hold_weights {
  std::uint32_t version = 0;
  bool hold = true; ///< false: they are needed no more
};

/// A new version's parameters can be pulled. coordinator -> whoever takes weights. Answered when a rollout samples
/// tokens from them; when a reference scores with them every group that it is handed from now on; when an evaluation
/// has them.
struct new_weights {
  std::uint32_t version = 0;
  ticket parameters;
  bool in_flight = true; ///< flip between two decode steps; false: when no group of the old version runs
};

/// Answers `new_weights`.
struct weights_live {
  std::uint32_t version = 0;
  double pull_s = 0;   ///< until the bytes were here
  double layout_s = 0; ///< until they were laid out for the kernels, beside decoding
};

} // namespace millrace
