#include "actors/evaluation_shell.hpp"

#include "actors/errors.hpp"
#include "actors/weights_bundle.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/telemetry/trace.hpp"
#include "runtime/train/trainable.hpp"

#include <sys/resource.h>
#include <unistd.h>

namespace millrace::actors {
namespace {

/// On the evaluation's thread.
version_evaluated evaluate(const evaluation_work& work, const role_context& context, std::uint32_t version,
                           const transport::bundle& parameters, std::stop_token stop) {
  const double start = telemetry::now_s();
  const telemetry::timed span(telemetry::process_trace(), context.who.name(), "evaluate version " + std::to_string(version),
                              telemetry::cause::compute);
  double told = start;
  const auto tally = work.run(
      model::inference_decoder(work.words().config, weights_of(parameters), train::device_named(context.pipeline->run.device)),
      [&](std::size_t done) {
        if (telemetry::now_s() - told < 1 && done < work.rows())
          return;
        told = telemetry::now_s();
        caf::anon_send(context.coordinator, evaluation_progress{context.who, version, done, work.rows()});
      },
      stop);
  if (stop.stop_requested())
    throw std::runtime_error("stopped");
  return {version, tally.figures(), tally.tokens(), telemetry::now_s() - start};
}

} // namespace

evaluation_shell::behavior_type make_evaluation(evaluation_shell::stateful_pointer<evaluation_shell_state> self,
                                                role_context context, std::shared_ptr<const evaluation_work> work) {
  self->state.work = std::move(work);
  self->state.thread = std::make_unique<job_thread>();
  // Linux: the calling thread's own priority, inherited by those it starts.
  self->state.thread->post([] { setpriority(PRIO_PROCESS, 0, evaluation_shell_state::lower_priority); });
  return {
      [self, context](const evaluate_version& ask) -> caf::result<version_evaluated> {
        auto promise = self->make_response_promise<version_evaluated>();
        const auto weak = caf::actor_cast<caf::actor_addr>(caf::actor_cast<evaluation_shell>(self));
        const auto answer = [weak, promise](std::function<void()> deliver) {
          if (const auto alive = caf::actor_cast<evaluation_shell>(weak))
            continue_in(alive, std::move(deliver));
        };
        const auto fail = [answer, promise](std::string why) {
          answer([promise, why = std::move(why)]() mutable { promise.deliver(error_with(std::move(why))); });
        };
        context.data->pull(ask.parameters, context.deadline(), [self, weak, context, ask, promise, answer,
                                                               fail](transport::pull_result pulled) {
          if (!pulled) {
            fail(pulled.error);
            return;
          }
          const auto alive = caf::actor_cast<evaluation_shell>(weak);
          if (!alive)
            return;
          // In the actor, whose state the job needs.
          continue_in(alive, [self, context, ask, promise, answer, fail, value = std::move(pulled.value)] {
            self->state.thread->post([work = self->state.work, stop = self->state.stop.get_token(), context, ask, promise,
                                      answer, fail, value] {
              try {
                const auto result = evaluate(*work, context, ask.version, value, stop);
                answer([promise, result]() mutable { promise.deliver(result); });
              } catch (const std::exception& error) {
                fail(error.what());
              }
            });
          });
        });
        return promise;
      },
      [](const continuation& rest) { rest.run(); },
  };
}

} // namespace millrace::actors
