#pragma once

#include <string>

namespace millrace {

/// One turn of a conversation.
struct chat_turn {
  std::string role; ///< "system", "user", "assistant", "tool"
  std::string content;

  bool operator==(const chat_turn&) const = default;
};

} // namespace millrace
