#include "actors/policy_shell.hpp"

#include "actors/errors.hpp"
#include "runtime/telemetry/trace.hpp"

namespace millrace::actors {
namespace {

using pointer = policy_shell::stateful_pointer<policy_shell_state>;

/// Runs `compute` on the policy's thread as a span of the trace; its result, or what it throws, answers the request.
/// @param then runs in the actor's context before the answer goes out
template <class Answer, class Compute, class Then>
caf::result<Answer> on_thread(pointer self, const std::string& track, std::string what, std::string_view cause,
                              Compute compute, Then then) {
  auto promise = self->template make_response_promise<Answer>();
  const auto me = caf::actor_cast<policy_shell>(self);
  self->state.thread->post([=]() mutable {
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

/// Pulls a group's columns and keeps them for training.
caf::result<group_fetched> fetch(pointer self, const role_context& context, const fetch_group& ask) {
  auto promise = self->make_response_promise<group_fetched>();
  const auto me = caf::actor_cast<policy_shell>(self);
  pull_columns(*context.data, ask.columns, {}, context.deadline(),
               [me, promise, ask, learner = self->state.learner](const column_set& columns, std::string error) {
                 try {
                   if (error.empty())
                     learner->keep(training_group_of(ask.group, columns));
                 } catch (const std::exception& failure) {
                   error = failure.what();
                 }
                 continue_in(me, [promise, ask, error]() mutable {
                   if (error.empty())
                     promise.deliver(group_fetched{ask.group, ask.attempt});
                   else
                     promise.deliver(error_with(std::move(error)));
                 });
               });
  return promise;
}

} // namespace

policy_shell::behavior_type make_policy(pointer self, role_context context, std::shared_ptr<learning> learner) {
  self->state.learner = std::move(learner);
  self->state.thread = std::make_unique<job_thread>();
  const auto track = context.who.name();
  const auto unchanged = [](auto result) { return result; };
  return {
      [=](const fetch_group& ask) { return fetch(self, context, ask); },
      [=](const forget_group& ask) { self->state.learner->forget(ask.group); },
      [=](const train_batch& ask) {
        self->state.stop_training = {};
        return on_thread<batch_report>(
            self, track, "train step " + std::to_string(ask.step), telemetry::cause::compute,
            [learner = self->state.learner, ask, stop = self->state.stop_training.get_token()] {
              return learner->train(ask, stop);
            },
            unchanged);
      },
      [=](const interrupt_training&) { self->state.stop_training.request_stop(); },
      [=](const publish_weights& ask) {
        return on_thread<weights_published>(
            self, track, "publish version " + std::to_string(ask.version), telemetry::cause::transfer,
            [learner = self->state.learner, data = context.data, ask] {
              const double start = telemetry::now_s();
              auto parameters = data->publish(learner->snapshot(ask.version));
              return weights_published{ask.version, std::move(parameters), telemetry::now_s() - start};
            },
            [self, data = context.data](weights_published result) {
              auto& published = self->state.published;
              published.push_back(result.parameters);
              while (published.size() > policy_shell_state::kept_versions) {
                data->release(published.front().id);
                published.pop_front();
              }
              return result;
            });
      },
      [=](const write_checkpoint& ask) {
        return on_thread<checkpoint_written>(
            self, track, "checkpoint", telemetry::cause::storage,
            [learner = self->state.learner, ask] {
              const double start = telemetry::now_s();
              learner->write_checkpoint(ask.folder);
              return checkpoint_written{ask.folder, telemetry::now_s() - start};
            },
            unchanged);
      },
      [](const continuation& rest) { rest.run(); },
  };
}

} // namespace millrace::actors
