#include "actors/rollout_shell.hpp"

#include "actors/errors.hpp"
#include "actors/weights_bundle.hpp"
#include "runtime/input_error.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/telemetry/trace.hpp"

namespace millrace::actors {
namespace {

/// What every group of the role is sampled with.
rollout::sampling sampling_of(const pipeline::rollout_table& table, const model::checkpoint& words) {
  rollout::sampling how;
  how.temperature = table.temperature;
  how.top_k = static_cast<int>(table.top_k);
  how.top_p = table.top_p;
  how.min_p = table.min_p;
  how.stop = table.stop;
  how.end_tokens = words.config.eos_ids;
  how.max_new_tokens = table.max_new_tokens;
  return how;
}

std::vector<std::int32_t> prompt_tokens(const model::checkpoint& words, const std::vector<chat_turn>& prompt) {
  std::vector<model::message> messages;
  for (const auto& turn : prompt)
    messages.push_back({turn.role, turn.content});
  return words.tok->encode(model::chat_of(words).render(messages, true));
}

/// The longest prompt that any source of the pipeline lets through.
std::int64_t longest_prompt(const pipeline::pipeline& p) {
  std::int64_t longest = 0;
  for (const auto* role : p.of<pipeline::source_table>())
    longest = std::max(longest, std::get<pipeline::source_table>(role->options).max_prompt_tokens);
  return longest;
}

} // namespace

rollout_shell::behavior_type make_rollout(rollout_shell::stateful_pointer<rollout_shell_state> self, role_context context,
                                          model::checkpoint words) {
  const auto& table = std::get<pipeline::rollout_table>(context.role().options);
  auto& state = self->state;
  state.words = std::move(words);
  state.staging = std::make_unique<job_thread>();
  const auto how = sampling_of(table, state.words);
  const auto prompt_limit = longest_prompt(*context.pipeline);
  const auto me = caf::actor_cast<rollout_shell>(self);
  const auto weak = caf::actor_cast<caf::actor_addr>(me);

  rollout::engine_options options;
  options.slots = static_cast<std::int32_t>(table.slots);
  options.threads = context.threads();
  options.max_context = std::min(state.words.config.max_positions, prompt_limit + table.max_new_tokens);

  generation::events on;
  const std::size_t greedy = table.greedy_baseline ? 1 : 0;
  on.finished = [context, greedy](std::uint32_t attempt, const std::vector<std::int32_t>& prompt, rollout::finished_group group) {
    group_generated what{context.who, group.group, attempt, context.data->publish(columns_of(prompt, group, greedy)),
                         tokens_by_version(group, greedy), group.first_token_s, greedy_tokens(group, greedy)};
    caf::anon_send(context.coordinator, std::move(what));
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
  state.engine = std::make_unique<generation>(context.who.name(), state.words.tok, options, std::move(on));

  return {
      [self, how, prompt_limit, greedy](const generate_group& ask) -> caf::result<group_accepted> {
        return answer_or_error([&] {
          auto prompt = prompt_tokens(self->state.words, ask.prompt);
          const auto length = static_cast<std::int64_t>(prompt.size());
          const auto context_tokens = self->state.words.config.max_positions;
          if (length > prompt_limit)
            throw input_error("a prompt of " + std::to_string(length) + " tokens, want at most max_prompt_tokens = "
                              + std::to_string(prompt_limit));
          if (length + 1 > context_tokens)
            throw input_error("a prompt of " + std::to_string(length) + " tokens in a context of "
                              + std::to_string(context_tokens));
          rollout::group_request request;
          request.group = ask.group;
          request.prompt = std::move(prompt);
          request.greedy = static_cast<std::int32_t>(greedy);
          request.answers = ask.answers + request.greedy;
          request.seed = ask.seed;
          request.how = how;
          self->state.engine->submit(std::move(request), ask.attempt);
          return group_accepted{ask.group, length};
        });
      },
      [self](const cancel_group& ask) { self->state.engine->cancel(ask.group); },
      [self, context, weak](const new_weights& ask) -> caf::result<weights_live> {
        auto promise = self->make_response_promise<weights_live>();
        const double start = telemetry::now_s();
        const auto fail = [weak, promise](std::string why) {
          if (const auto alive = caf::actor_cast<rollout_shell>(weak))
            continue_in(alive, [promise, why = std::move(why)]() mutable { promise.deliver(error_with(std::move(why))); });
        };
        context.data->pull(ask.parameters, context.deadline(), [self, weak, context, ask, promise, start, fail](
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
          continue_in(alive, [self, weak, context, ask, promise, start, arrived, fail, value = std::move(pulled.value)] {
            self->state.staging->post([self, weak, context, ask, promise, start, arrived, fail, value]() mutable {
              try {
                const telemetry::timed staging(telemetry::process_trace(), "staging of " + context.who.name(),
                                               "stage version " + std::to_string(ask.version), telemetry::cause::compute);
                auto policy = std::make_shared<model::decoder>(self->state.words.config, weights_of(value));
                policy->pack();
                const auto still = caf::actor_cast<rollout_shell>(weak);
                if (!still)
                  return;
                const double staged = telemetry::now_s();
                continue_in(still, [self, ask, promise, policy, start, arrived, staged]() mutable {
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
                    state.engine->stage(policy, ask.version, ask.in_flight);
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
