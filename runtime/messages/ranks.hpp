#pragma once

#include "runtime/messages/protocol.hpp"
#include "runtime/words/role_instance.hpp"

#include <cstdint>
#include <string>

namespace millrace {

/// All ranks of a learner are up: form the group of a generation. coordinator -> every rank.
struct form_ranks {
  std::uint32_t generation = 0; ///< from 1; a new one whenever ranks have come or gone
  std::uint32_t size = 0;
};

/// What ranks tell each other before they are connected. rank -> coordinator -> every other rank.
struct rank_word {
  role_instance from;
  std::uint32_t generation = 0;
  std::string key;
  std::string value;
};

/// A rank of a generation is gone: whatever waits for it ends. coordinator -> the other ranks.
struct part_ranks {
  std::uint32_t generation = 0;
  std::string why;
};

/// A generation is of no use, and the rank that says so knows of nobody who is gone. rank -> coordinator.
struct ranks_lost {
  role_instance from;
  std::uint32_t generation = 0;
  std::string why;
};

} // namespace millrace
