#include "runtime/schedule/action.hpp"

namespace millrace::schedule {

std::string_view to_string(drop_reason reason) {
  switch (reason) {
  case drop_reason::data:
    return "data";
  case drop_reason::attempts:
    return "attempts";
  case drop_reason::unneeded:
    return "unneeded";
  case drop_reason::zero_variance:
    return "zero_variance";
  case drop_reason::baseline:
    return "baseline";
  case drop_reason::masked:
    return "masked";
  case drop_reason::stale:
    return "stale";
  case drop_reason::surplus:
    return "surplus";
  }
  return "unknown";
}

std::string_view to_string(finish_reason reason) {
  switch (reason) {
  case finish_reason::steps_done:
    return "steps_done";
  case finish_reason::prompts_exhausted:
    return "prompts_exhausted";
  case finish_reason::stopped:
    return "stopped";
  case finish_reason::losses:
    return "losses";
  }
  return "unknown";
}

} // namespace millrace::schedule
