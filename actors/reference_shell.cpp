#include "actors/reference_shell.hpp"

#include "actors/column_origin.hpp"
#include "actors/thread_answer.hpp"
#include "actors/weights_bundle.hpp"
#include "runtime/input_error.hpp"

#include <future>

namespace millrace::actors {
namespace {

/// The bundle, waited for on a thread that may wait. @throws input_error with the line of what went wrong
transport::bundle pulled(transport::data_plane& data, const transport::ticket& ticket, std::chrono::milliseconds deadline) {
  std::promise<transport::pull_result> arrived;
  data.pull(ticket, deadline, [&](transport::pull_result result) { arrived.set_value(std::move(result)); });
  auto result = arrived.get_future().get(); // the data plane answers within the deadline
  if (!result)
    throw input_error(result.error);
  return std::move(result.value);
}

} // namespace

void reference::process(const process_group&, column_set columns, std::function<void(stage_result)> done) {
  core_.thread->post([weights = core_.weights, columns = std::move(columns), done = std::move(done)] {
    stage_result result;
    try {
      std::vector<std::vector<std::int32_t>> answers;
      for (const auto answer : by_answer(columns.view<std::int32_t>("tokens"), columns.view<std::int32_t>("lengths")))
        answers.emplace_back(answer.begin(), answer.end());
      const auto logprob = weights->logprobs(columns.view<std::int32_t>("prompt_tokens"), answers);
      transport::bundle_builder added;
      added.add("ref_logprob", std::span<const float>(logprob));
      if (weights->follows())
        added.add_all(origin_of("ref_logprob", {weights->version(), 0}));
      result.added = added.finish();
    } catch (const std::exception& error) {
      result.error = error.what();
    }
    done(std::move(result));
  });
}

reference_shell::behavior_type make_reference(reference_shell::stateful_pointer<reference_shell_state> self, role_context context,
                                              reference_core core) {
  self->state.core = std::move(core);
  const auto weights = self->state.core.weights;
  const auto thread = self->state.core.thread.get(); // lives as long as the state
  const auto track = context.who.name();
  const auto unchanged = [](auto result) { return result; };
  return {
      [=](const follow_policy& ask) {
        return answer_from_thread<reference_shell, policy_followed>(
            self, *thread, track, "follow version " + std::to_string(ask.version), telemetry::cause::transfer,
            [weights, ask, data = context.data, deadline = context.deadline()] {
              if (weights->wants(ask.version))
                weights->follow(ask.version, weights_of(pulled(*data, ask.parameters, deadline)));
              return policy_followed{ask.version};
            },
            unchanged);
      },
      [=](const write_checkpoint& ask) {
        return answer_from_thread<reference_shell, checkpoint_written>(
            self, *thread, track, "checkpoint", telemetry::cause::storage,
            [weights, ask, role = context.who.role] {
              const double start = telemetry::now_s();
              weights->write_checkpoint(ask.folder, role);
              return checkpoint_written{ask.folder, telemetry::now_s() - start};
            },
            unchanged);
      },
      [](const continuation& rest) { rest.run(); },
  };
}

} // namespace millrace::actors
