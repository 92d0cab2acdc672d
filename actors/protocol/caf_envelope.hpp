#pragma once

#include "actors/protocol/envelope.hpp"

#include <caf/deserializer.hpp>
#include <caf/serializer.hpp>

namespace millrace::actors {

// How CAF writes, reads and prints an envelope.

caf::error inspect(caf::serializer& sink, envelope& what);
caf::error inspect(caf::deserializer& source, envelope& what);

template <class Printer>
typename Printer::result_type inspect(Printer& printer, envelope& what) {
  return printer(what.empty() ? "nothing" : what.type().name());
}

} // namespace millrace::actors
