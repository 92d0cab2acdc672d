#include "actors/errors.hpp"

#include <caf/deep_to_string.hpp>

namespace millrace::actors {

std::string line_of(const caf::error& error) {
  if (error.category() == caf::atom("system")) {
    if (error.code() == static_cast<std::uint8_t>(caf::sec::request_timeout))
      return "no answer within the deadline";
    if (error.context().size() == 1 && error.context().match_element<std::string>(0))
      return error.context().get_as<std::string>(0);
    return to_string(static_cast<caf::sec>(error.code())) + (error.context().empty() ? "" : " " + to_string(error.context()));
  }
  return to_string(error);
}

} // namespace millrace::actors
