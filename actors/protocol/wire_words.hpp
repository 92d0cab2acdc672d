#pragma once

#include "runtime/messages/node.hpp"

/// The fields of what many messages hold, as in wire_fields.hpp.

namespace millrace {

template <class Inspector>
auto inspect(Inspector& f, tensor_spec& x) {
  return f(x.name, x.type, x.shape);
}

template <class Inspector>
auto inspect(Inspector& f, ticket& x) {
  return f(x.owner, x.id, x.bytes, x.layout, x.checksums);
}

template <class Inspector>
auto inspect(Inspector& f, wait_record& x) {
  return f(x.who, x.what, x.on, x.since_s, x.deadline_s);
}

template <class Inspector>
auto inspect(Inspector& f, group_attempt& x) {
  return f(x.group, x.attempt);
}

template <class Inspector>
auto inspect(Inspector& f, role_instance& x) {
  return f(x.role, x.index, x.incarnation);
}

template <class Inspector>
auto inspect(Inspector& f, chat_turn& x) {
  return f(x.role, x.content);
}

template <class Inspector>
auto inspect(Inspector& f, tool_call& x) {
  return f(x.name, x.arguments, x.error);
}

template <class Inspector>
auto inspect(Inspector& f, sampled_turn& x) {
  return f(x.behind, x.tokens, x.logprobs, x.texts);
}

template <class Inspector>
auto inspect(Inspector& f, called_turn& x) {
  return f(x.content, x.calls);
}

} // namespace millrace
