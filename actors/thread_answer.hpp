#pragma once

#include "actors/continuation.hpp"
#include "actors/errors.hpp"
#include "actors/job_thread.hpp"
#include "runtime/telemetry/trace.hpp"

#include <caf/actor_cast.hpp>
#include <caf/result.hpp>

#include <string>
#include <string_view>

namespace millrace::actors {

/// Runs `compute` on `thread` as a span of the trace; its result, or what it throws, answers the request.
/// @tparam Shell the actor's own handle type, which takes `continuation`
/// @param then runs in the actor's context before the answer goes out
template <class Shell, class Answer, class Pointer, class Compute, class Then>
caf::result<Answer> answer_from_thread(Pointer self, job_thread& thread, const std::string& track, std::string what,
                                       std::string_view cause, Compute compute, Then then) {
  auto promise = self->template make_response_promise<Answer>();
  const auto me = caf::actor_cast<Shell>(self);
  thread.post([=]() mutable {
    try {
      telemetry::timed span(telemetry::process_trace(), track, what, cause);
      auto result = compute();
      continue_in(me, [=]() mutable { promise.deliver(then(std::move(result))); });
    } catch (const std::exception& failure) {
      continue_in(me, [promise, line = std::string(failure.what())]() mutable { promise.deliver(error_with(std::move(line))); });
    }
  });
  return promise;
}

} // namespace millrace::actors
