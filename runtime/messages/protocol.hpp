#pragma once

#include "runtime/words/address.hpp"

#include <type_traits>
#include <utility>

namespace millrace {

/// A line of a protocol: this message is sent and not answered.
template <class Message>
struct told {};

/// A line of a protocol: this message is answered by that one, or by an error.
template <class Message, class Answer>
struct asked {};

/// What somebody can be told and asked. Who sends anything else does not compile.
template <class... Lines>
struct protocol : Lines... {};

namespace detail {

template <class Message>
std::true_type takes(const told<Message>&);
template <class Message>
std::false_type takes(...);

template <class Message, class Answer>
Answer answer_to(const asked<Message, Answer>&);

} // namespace detail

/// Whether somebody of `Protocol` may be told `Message`.
template <class Protocol, class Message>
inline constexpr bool may_be_told = decltype(detail::takes<Message>(std::declval<const Protocol&>()))::value;

/// The answer of somebody of `Protocol` who is asked `Message`.
template <class Protocol, class Message>
using answer_of = decltype(detail::answer_to<Message>(std::declval<const Protocol&>()));

/// The address of somebody who speaks `Protocol`.
template <class Protocol>
class handle : public address {
public:
  handle() = default;

  explicit handle(address to) : address(std::move(to)) {}
};

} // namespace millrace
