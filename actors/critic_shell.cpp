#include "actors/critic_shell.hpp"

#include "actors/fetch_for_training.hpp"
#include "actors/thread_answer.hpp"

#include <future>
#include <stdexcept>

namespace millrace::actors {

void critic_values::process(const process_group&, column_set columns, std::function<void(stage_result)> done) {
  core_.thread->post([learner = core_.learner, columns = std::move(columns), done = std::move(done)] {
    stage_result result;
    try {
      result.added = learner->value_columns(columns);
    } catch (const std::exception& error) {
      result.error = error.what();
    }
    done(std::move(result));
  });
}

critic_shell::behavior_type make_critic(critic_shell::stateful_pointer<critic_shell_state> self, role_context context,
                                        critic_core core) {
  self->state.core = std::move(core);
  const auto learner = self->state.core.learner;
  const auto thread = self->state.core.thread.get(); // lives as long as the state
  const auto track = context.who.name();
  const auto unchanged = [](auto result) { return result; };
  return {
      [=](const fetch_group& ask) { return fetch_for_training<critic_shell>(self, context, ask, learner); },
      [=](const forget_group& ask) { learner->forget(ask.group); },
      [=](const train_batch& ask) {
        self->state.stop_training = {};
        const auto returns = std::make_shared<std::promise<column_set>>();
        if (ask.returns.id == 0)
          returns->set_value({});
        else
          pull_columns(*context.data, std::span(&ask.returns, 1), {}, context.deadline(), [returns](column_set columns, const std::string& error) {
            if (error.empty())
              returns->set_value(std::move(columns));
            else
              returns->set_exception(std::make_exception_ptr(std::runtime_error("the policy's targets cannot be fetched: " + error)));
          });
        return answer_from_thread<critic_shell, batch_report>(
            self, *thread, track, "train step " + std::to_string(ask.step), telemetry::cause::compute,
            [learner, ask, returns, stop = self->state.stop_training.get_token()] {
              const auto columns = returns->get_future().get(); // within the pull's deadline
              return learner->train(ask, stop, ask.returns.id == 0 ? std::span<const float>() : columns.view<float>("returns"));
            },
            unchanged);
      },
      [=](const interrupt_training&) { self->state.stop_training.request_stop(); },
      [=](const end_critic_step& how) {
        thread->post([learner, how] { learner->end_step(how); });
        return critic_step_ended{how.step};
      },
      [=](const write_checkpoint& ask) {
        return answer_from_thread<critic_shell, checkpoint_written>(
            self, *thread, track, "checkpoint", telemetry::cause::storage,
            [learner, ask] {
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
