#pragma once

#include "runtime/words/wait_record.hpp"

#include <string>
#include <utility>
#include <vector>

namespace millrace::telemetry {

/// A wait of no scheduler's kind.
inline wait_record wait_of(std::string who, std::string what, std::vector<std::string> on, double since_s,
                           double deadline_s) {
  return {.who = std::move(who),
          .what = std::move(what),
          .on = std::move(on),
          .since_s = since_s,
          .deadline_s = deadline_s,
          .group = {}};
}

} // namespace millrace::telemetry
