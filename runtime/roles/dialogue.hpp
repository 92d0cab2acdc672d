#pragma once

#include "runtime/messages/episodes.hpp"
#include "runtime/words/chat_turn.hpp"

#include <string>
#include <utility>
#include <vector>

namespace millrace::roles {

/// What was said in an episode so far, for a policy that reads it anew.
class dialogue {
public:
  explicit dialogue(std::vector<chat_turn> prompt = {}) : said_(std::move(prompt)) {}

  /// Enters a turn and what was said to it. @returns the reply, with what stands before it
  turn_taken heard(const std::string& turn, turn_taken reply) {
    said_.push_back({"assistant", turn});
    if (reply.done)
      return reply;
    if (reply.rewritten)
      said_ = reply.history;
    else
      reply.history = said_;
    said_.insert(said_.end(), reply.messages.begin(), reply.messages.end());
    return reply;
  }

private:
  std::vector<chat_turn> said_;
};

} // namespace millrace::roles
