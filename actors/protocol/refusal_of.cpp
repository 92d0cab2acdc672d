#include "actors/protocol/refusal_of.hpp"

#include <caf/deep_to_string.hpp>
#include <caf/error.hpp>
#include <caf/message.hpp>
#include <caf/sec.hpp>

namespace millrace::actors {

refusal refusal_of(const caf::error& error) {
  if (error.category() != caf::atom("system"))
    return {.line = to_string(error)};
  if (error.code() == static_cast<std::uint8_t>(caf::sec::request_timeout))
    return {.line = "no answer within the deadline"};
  if (error.code() == static_cast<std::uint8_t>(caf::sec::request_receiver_down))
    return {.line = "who was asked is gone"};
  const bool said = error.code() == static_cast<std::uint8_t>(caf::sec::runtime_error);
  if (error.context().size() == 1 && error.context().match_element<std::string>(0))
    return {.line = error.context().get_as<std::string>(0), .by_the_asked = said};
  return {.line = to_string(static_cast<caf::sec>(error.code()))
                  + (error.context().empty() ? "" : " " + to_string(error.context())),
          .by_the_asked = said};
}

} // namespace millrace::actors
