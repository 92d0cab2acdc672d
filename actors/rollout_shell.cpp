#include "actors/rollout_shell.hpp"

#include "actors/errors.hpp"
#include "actors/rollout_requests.hpp"
#include "actors/weights_bundle.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/schedule/config.hpp"
#include "runtime/telemetry/holdings.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/telemetry/trace.hpp"
#include "runtime/train/trainable.hpp"

namespace millrace::actors {
rollout_shell::behavior_type make_rollout(rollout_shell::stateful_pointer<rollout_shell_state> self, role_context context,
                                          model::checkpoint words) {
  const auto& table = std::get<pipeline::rollout_table>(context.role().options);
  auto& state = self->state;
  state.words = std::move(words);
  state.staging = std::make_unique<job_thread>();
  const auto requests = std::make_shared<const rollout_requests>(*context.pipeline, table, state.words);
  const auto me = caf::actor_cast<rollout_shell>(self);
  const auto weak = caf::actor_cast<caf::actor_addr>(me);
  const telemetry::holder held(context.who.name());

  const at::Device device = train::device_named(context.pipeline->run.device);
  const auto in_flight = context.pipeline->schedule.interrupt.kv == schedule::word(schedule::kv_mode::recompute) ? flip_mode::recompute
                                                                                                                 : flip_mode::keep;

  generation::events on;
  const auto greedy = static_cast<std::size_t>(requests->greedy());
  on.finished = [context, greedy, held](std::uint32_t attempt, const std::vector<std::int32_t>& prompt, rollout::finished_group group) {
    group_generated what{context.who, group.group, attempt, context.data->publish(columns_of(prompt, group, greedy)),
                         tokens_by_version(group.answers, greedy), group.first_token_s, greedy_tokens(group, greedy),
                         tokens_by_oldest_version(group, greedy), group.surplus_tokens};
    caf::anon_send(context.coordinator, std::move(what));
    held.leave({group.group, attempt});
  };
  on.interrupted = [context, greedy, held](std::uint32_t attempt, const rollout::partial_group& so_far) {
    group_interrupted what{context.who, so_far.group, attempt, {}, tokens_by_version(so_far.answers, greedy)};
    if (!what.tokens.empty())
      what.partial = context.data->publish(columns_of(so_far));
    caf::anon_send(context.coordinator, std::move(what));
    held.leave({so_far.group, attempt});
  };
  on.failed = [context](std::string why) {
    caf::anon_send(context.coordinator, role_failed{context.who, "generation ended: " + why});
  };
  on.flipped = [self, weak](std::uint32_t version) {
    if (const auto alive = caf::actor_cast<rollout_shell>(weak))
      continue_in(alive, [self, version] {
        self->state.live_version = version;
        std::erase_if(self->state.flips, [&](auto& flip) {
          if (flip.version > version)
            return false;
          flip.answer.version = version;
          flip.promise.deliver(flip.answer);
          return true;
        });
      });
  };
  state.engine = std::make_unique<generation>(context.who.name(), state.words.tok, requests->engine_options(context.threads()),
                                              std::move(on));

  return {
      [self, requests, context, weak, held](const generate_group& ask) -> caf::result<group_accepted> {
        self->state.pulls.erase(ask.group);
        held.take({ask.group, ask.attempt});
        if (ask.partial.id == 0)
          return answer_or_error([&] {
            try {
              auto request = requests->make(ask);
              const auto length = static_cast<std::int64_t>(request.prompt.size());
              self->state.engine->submit(std::move(request), ask.attempt);
              return group_accepted{ask.group, length};
            } catch (...) {
              held.leave({ask.group, ask.attempt});
              throw;
            }
          });
        auto promise = self->make_response_promise<group_accepted>();
        self->state.pulls[ask.group] = {ask.attempt, false};
        context.data->pull(ask.partial, context.deadline(), [self, requests, weak, ask, promise, held](transport::pull_result pulled) {
          if (const auto alive = caf::actor_cast<rollout_shell>(weak))
            continue_in(alive, [self, requests, ask, promise, held, pulled = std::move(pulled)]() mutable {
              auto& state = self->state;
              const auto open = state.pulls.find(ask.group);
              if (open == state.pulls.end() || open->second.attempt != ask.attempt) {
                promise.deliver(group_accepted{ask.group, 0, "the group was cancelled"});
                return;
              }
              const bool interrupted = open->second.interrupted;
              state.pulls.erase(open);
              try {
                if (!pulled)
                  throw std::runtime_error(pulled.error);
                auto request = requests->make(ask);
                const auto length = static_cast<std::int64_t>(request.prompt.size());
                state.engine->submit(std::move(request), ask.attempt, partial_of(ask.group, pulled.value));
                if (interrupted)
                  state.engine->interrupt(ask.group, ask.attempt);
                promise.deliver(group_accepted{ask.group, length});
              } catch (const std::exception& error) {
                held.leave({ask.group, ask.attempt});
                promise.deliver(group_accepted{ask.group, 0, error.what()});
              }
            });
        });
        return promise;
      },
      [self, held](const cancel_group& ask) {
        self->state.pulls.erase(ask.group);
        self->state.engine->cancel(ask.group);
        held.leave(ask.group);
      },
      [self](const interrupt_group& ask) {
        const auto open = self->state.pulls.find(ask.group);
        if (open != self->state.pulls.end() && open->second.attempt == ask.attempt)
          open->second.interrupted = true;
        else
          self->state.engine->interrupt(ask.group, ask.attempt);
      },
      [self, context, weak, device, in_flight](const new_weights& ask) -> caf::result<weights_live> {
        auto promise = self->make_response_promise<weights_live>();
        const double start = telemetry::now_s();
        const auto fail = [weak, promise](std::string why) {
          if (const auto alive = caf::actor_cast<rollout_shell>(weak))
            continue_in(alive, [promise, why = std::move(why)]() mutable { promise.deliver(error_with(std::move(why))); });
        };
        context.data->pull(ask.parameters, context.deadline(), [self, weak, context, ask, promise, start, fail, device, in_flight](
                                                                   transport::pull_result pulled) mutable {
          if (!pulled) {
            fail(pulled.error);
            return;
          }
          const auto alive = caf::actor_cast<rollout_shell>(weak);
          if (!alive)
            return;
          const double arrived = telemetry::now_s();
          telemetry::process_trace().record({"staging of " + context.who.name(), "pull version " + std::to_string(ask.version),
                                             std::string(telemetry::cause::transfer), start, arrived - start, {}});
          // In the actor: register the answer, then lay the weights out on the staging thread.
          continue_in(alive, [self, weak, context, ask, promise, start, arrived, fail, device, in_flight, value = std::move(pulled.value)] {
            self->state.staging->post([self, weak, context, ask, promise, start, arrived, fail, device, in_flight, value]() mutable {
              try {
                const telemetry::timed staging(telemetry::process_trace(), "staging of " + context.who.name(),
                                               "stage version " + std::to_string(ask.version), telemetry::cause::compute);
                const auto policy = model::inference_decoder(self->state.words.config, weights_of(value), device);
                const auto still = caf::actor_cast<rollout_shell>(weak);
                if (!still)
                  return;
                const double staged = telemetry::now_s();
                continue_in(still, [self, ask, promise, policy, start, arrived, staged, in_flight]() mutable {
                  auto& state = self->state;
                  weights_live answer{ask.version, arrived - start, staged - arrived};
                  if (state.live_version >= ask.version) { // RO-3
                    answer.version = *state.live_version;
                    promise.deliver(answer);
                    return;
                  }
                  state.flips.push_back({ask.version, answer, promise});
                  if (state.staged_version < ask.version) {
                    state.staged_version = ask.version;
                    state.engine->stage(policy, ask.version, ask.in_flight ? in_flight : flip_mode::when_idle);
                  }
                });
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
