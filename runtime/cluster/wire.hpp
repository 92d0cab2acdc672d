#pragma once

#include "runtime/telemetry/holdings.hpp"
#include "runtime/telemetry/trace.hpp"
#include "runtime/telemetry/waits.hpp"
#include "runtime/transport/ticket.hpp"

#include <caf/meta/type_name.hpp>

/// How plain structs of folders that know nothing of CAF travel in its messages.

namespace millrace::transport {

template <class Inspector>
auto inspect(Inspector& f, tensor_spec& x) {
  return f(caf::meta::type_name("tensor_spec"), x.name, x.type, x.shape);
}

template <class Inspector>
auto inspect(Inspector& f, ticket& x) {
  return f(caf::meta::type_name("ticket"), x.owner, x.id, x.bytes, x.checksum, x.layout);
}

} // namespace millrace::transport

namespace millrace::telemetry {

template <class Inspector>
auto inspect(Inspector& f, span& x) {
  return f(caf::meta::type_name("span"), x.track, x.name, x.category, x.start_s, x.duration_s, x.args);
}

template <class Inspector>
auto inspect(Inspector& f, counter& x) {
  return f(caf::meta::type_name("counter"), x.track, x.name, x.at_s, x.value);
}

template <class Inspector>
auto inspect(Inspector& f, trace_batch& x) {
  return f(caf::meta::type_name("trace_batch"), x.spans, x.counters);
}

template <class Inspector>
auto inspect(Inspector& f, wait_record& x) {
  return f(caf::meta::type_name("wait_record"), x.who, x.what, x.on, x.since_s, x.deadline_s);
}

template <class Inspector>
auto inspect(Inspector& f, held_group& x) {
  return f(caf::meta::type_name("held_group"), x.group, x.attempt);
}

template <class Inspector>
auto inspect(Inspector& f, holding& x) {
  return f(caf::meta::type_name("holding"), x.who, x.asked, x.held);
}

} // namespace millrace::telemetry
