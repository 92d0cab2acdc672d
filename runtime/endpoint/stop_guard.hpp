#pragma once

#include "runtime/text/tokenizer.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace millrace::endpoint {

/// Turns the tokens of an answer into text that may be sent at once: it holds back what may become a stop string, and
/// ends before one.
class stop_guard {
public:
  stop_guard(std::shared_ptr<const text::tokenizer> tok, std::vector<std::string> stops)
      : stream_(std::move(tok)), stops_(std::move(stops)) {}

  /// The text that this token lets go.
  std::string push(std::int32_t token);

  /// The rest. @param stopped a stop string may have ended the answer: nothing from the first of them on is sent
  std::string finish(bool stopped);

private:
  text::text_stream stream_;
  std::vector<std::string> stops_;
  std::string held_;
};

} // namespace millrace::endpoint
