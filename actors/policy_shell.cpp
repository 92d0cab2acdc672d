#include "actors/policy_shell.hpp"

#include "actors/fetch_for_training.hpp"
#include "actors/thread_answer.hpp"

namespace millrace::actors {
namespace {

std::string in_words(const train_batch& batch) {
  const bool whole = batch.part == 0 && batch.ends_step;
  return "step " + std::to_string(batch.step) + (whole ? "" : ", part " + std::to_string(batch.part + 1));
}

using pointer = policy_shell::stateful_pointer<policy_shell_state>;

/// Releases what was published, but for the newest versions and those that are held.
void let_go_of_old(policy_shell_state& state, transport::data_plane& data) {
  for (std::size_t i = 0; i + policy_shell_state::kept_versions < state.published.size();)
    if (state.held.contains(state.published[i].first)) {
      ++i;
    } else {
      data.release(state.published[i].second.id);
      state.published.erase(state.published.begin() + static_cast<std::ptrdiff_t>(i));
    }
}

} // namespace

policy_shell::behavior_type make_policy(pointer self, role_context context, std::shared_ptr<learning> learner) {
  self->state.learner = std::move(learner);
  self->state.thread = std::make_unique<job_thread>();
  const auto track = context.who.name();
  const auto unchanged = [](auto result) { return result; };
  return {
      [=](const fetch_group& ask) { return fetch_for_training<policy_shell>(self, context, ask, self->state.learner); },
      [=](const forget_group& ask) { self->state.learner->forget(ask.group); },
      [=](const train_batch& ask) {
        self->state.stop_training = {};
        return answer_from_thread<policy_shell, batch_report>(
            self, *self->state.thread, track, "train " + in_words(ask), telemetry::cause::compute,
            [learner = self->state.learner, data = context.data, ask, stop = self->state.stop_training.get_token()] {
              auto report = learner->train(ask, stop);
              if (const auto returns = learner->take_returns(); !returns.empty())
                report.returns = data->publish(transport::bundle_builder().add("returns", std::span<const float>(returns)).finish());
              return report;
            },
            unchanged);
      },
      [=](const interrupt_training&) { self->state.stop_training.request_stop(); },
      [=](const publish_weights& ask) {
        return answer_from_thread<policy_shell, weights_published>(
            self, *self->state.thread, track, "publish version " + std::to_string(ask.version), telemetry::cause::transfer,
            [learner = self->state.learner, data = context.data, ask] {
              const double start = telemetry::now_s();
              auto parameters = data->publish(learner->snapshot(ask.version));
              return weights_published{ask.version, std::move(parameters), telemetry::now_s() - start};
            },
            [self, data = context.data](weights_published result) {
              self->state.published.emplace_back(result.version, result.parameters);
              let_go_of_old(self->state, *data);
              return result;
            });
      },
      [=](const hold_weights& ask) {
        if (ask.hold)
          self->state.held.insert(ask.version);
        else if (self->state.held.erase(ask.version) > 0)
          let_go_of_old(self->state, *context.data);
      },
      [=](const write_checkpoint& ask) {
        return answer_from_thread<policy_shell, checkpoint_written>(
            self, *self->state.thread, track, "checkpoint", telemetry::cause::storage,
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
