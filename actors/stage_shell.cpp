#include "actors/stage_shell.hpp"

#include "actors/errors.hpp"
#include "runtime/telemetry/holdings.hpp"
#include "runtime/telemetry/trace.hpp"

namespace millrace::actors {

stage_shell::behavior_type make_stage(stage_shell::stateful_pointer<stage_shell_state> self, role_context context,
                                      std::shared_ptr<stage_work> work) {
  self->state.work = std::move(work);
  const telemetry::holder held(context.who.name());
  return {
      [self, context, held](const process_group& group) -> caf::result<group_columns> {
        held.take({group.group, group.attempt});
        auto promise = self->make_response_promise<group_columns>();
        const double start = telemetry::now_s();
        const auto me = caf::actor_cast<stage_shell>(self);
        const auto finish = [me, context, promise, start, group, held](stage_result result) {
          group_columns answer{group.group, group.attempt, {}, std::move(result.summary), std::move(result.complaint),
                               telemetry::now_s() - start};
          if (result.error.empty())
            answer.columns = context.data->publish(std::move(result.added));
          telemetry::process_trace().record({context.who.name(), "group " + std::to_string(group.group),
                                             std::string(telemetry::cause::compute), start, answer.busy_s, {}});
          continue_in(me, [promise, held, what = telemetry::held_group{group.group, group.attempt}, answer = std::move(answer),
                           error = std::move(result.error)]() mutable {
            if (error.empty())
              promise.deliver(std::move(answer));
            else
              promise.deliver(error_with(std::move(error)));
            held.leave(what);
          });
        };
        pull_columns(*context.data, group.columns, context.role().reads, context.deadline(),
                     [work = self->state.work, group, finish](column_set columns, std::string error) {
                       if (error.empty())
                         try {
                           work->process(group, std::move(columns), finish);
                           return;
                         } catch (const std::exception& failure) {
                           error = failure.what();
                         }
                       finish({{}, {}, {}, std::move(error)});
                     });
        return promise;
      },
      [](const continuation& rest) { rest.run(); },
  };
}

} // namespace millrace::actors
