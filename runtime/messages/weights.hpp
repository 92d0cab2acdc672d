#pragma once

#include "runtime/words/ticket.hpp"

#include <cstdint>
#include <utility>
#include <vector>

namespace millrace {

/// Where a version's parameters can be pulled: from one place, or a share from each rank of the learner.
struct weight_shares {
  std::vector<ticket> tickets;    ///< in the order of ranks; none: nothing to pull
  std::vector<tensor_spec> whole; ///< what several shares make up, tensor by tensor; of one ticket: empty
  ticket delta = {};              ///< what differs from the version `since`; id 0: nothing to pull
  std::uint32_t since = 0;
  ticket adapter = {}; ///< what makes the version out of the policy's base; id 0: nothing to pull

  weight_shares() = default;

  weight_shares(ticket one) : tickets{std::move(one)} {}

  bool operator==(const weight_shares&) const = default;
};

/// Make the parameters as they are now available as a version. coordinator -> whoever publishes weights.
struct publish_weights {
  std::uint32_t version = 0;
};

/// Answers `publish_weights`. The tickets live until every rollout has the version (`weights_taken`) or the next one is
/// published, longer if held; where a reference follows, until the one after the next is published.
struct weights_published {
  std::uint32_t version = 0;
  weight_shares parameters;
  double copy_s = 0;
};

/// Whether a version's parameters stay available however many are published after it. coordinator -> whoever publishes
/// weights.
struct hold_weights {
  std::uint32_t version = 0;
  bool hold = true; ///< false: they are needed no more
};

/// Every rollout samples from a version: its bytes are needed no more, unless they are held or a reference follows. A
/// rollout that comes up later has the version published again. coordinator -> whoever publishes weights.
struct weights_taken {
  std::uint32_t version = 0;
};

/// A new version's parameters can be pulled. coordinator -> whoever takes weights. Answered when a rollout samples
/// tokens from them; when a reference scores with them every group that it is handed from now on; when an evaluation
/// has them.
struct new_weights {
  std::uint32_t version = 0;
  weight_shares parameters;
  bool in_flight = true; ///< flip between two decode steps; false: when no group of the old version runs
};

/// Answers `new_weights`.
struct weights_live {
  std::uint32_t version = 0;
  double pull_s = 0;   ///< until the bytes were here
  double layout_s = 0; ///< until they were laid out for the kernels, beside decoding
};

} // namespace millrace
