#pragma once

#include "runtime/words/wait_record.hpp"

#include <string>

namespace millrace::schedule {

/// "learner waits for 1 of 4 groups: 17 (generating on rollout/0 for 5.2 s); since 14.0 s, for 3.5 s"
std::string sentence(const wait_record& wait, double now_s);

} // namespace millrace::schedule
