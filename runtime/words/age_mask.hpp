#pragma once

#include <cstdint>

namespace millrace {

/// Which part of a batch is too old to be trained.
enum class age_mask : std::uint8_t {
  none,    ///< nothing
  tokens,  ///< tokens of a version before `train_from`
  answers, ///< answers with such a token; they keep their reward in the group's baseline
};

} // namespace millrace
