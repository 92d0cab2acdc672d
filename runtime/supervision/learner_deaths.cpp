#include "runtime/supervision/learner_deaths.hpp"

namespace millrace::supervision {

int learner_deaths::died(const run_place& at) {
  if (at > furthest_) {
    furthest_ = at;
    together_ = 0;
  }
  return ++together_;
}

} // namespace millrace::supervision
