#include "runtime/roles/rollout_role.hpp"

#include "kernels/system_memory.hpp"
#include "runtime/columns/answer_columns.hpp"
#include "runtime/columns/prompt_columns.hpp"
#include "runtime/columns/version_pulls.hpp"
#include "runtime/columns/weights_bundle.hpp"
#include "runtime/model/inference_decoder.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/roles/decode_loop.hpp"
#include "runtime/roles/policy_service.hpp"
#include "runtime/roles/published_versions.hpp"
#include "runtime/roles/role_kinds.hpp"
#include "runtime/roles/role_model.hpp"
#include "runtime/roles/rollout_requests.hpp"
#include "runtime/roles/thread_answer.hpp"
#include "runtime/telemetry/in_flight.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <optional>
#include <utility>

namespace millrace::roles {
namespace {

/// A group that was asked for, until the decode loop has it.
struct asked_group {
  generate_group ask;
  std::shared_ptr<environment> plays; ///< nullptr: its answers are no episodes
  answer_to<group_accepted> done;
  telemetry::in_flight_guard open;

  void lost(std::string why) const { done({.group = ask.group, .prompt_tokens = 0, .lost = std::move(why)}, {}); }
};

/// A version whose weights are on their way to the decode loop.
struct coming_weights {
  new_weights ask;
  answer_to<weights_live> done;
  double asked_s = 0;   ///< `telemetry::now_s()`
  double arrived_s = 0; ///< the bytes were here
};

generation_lost lost_group(const role_instance& who, std::uint32_t attempt, const rollout::partial_group& had,
                           const std::string& why) {
  generation_lost lost{.from = who, .group = had.group, .attempt = attempt, .why = why};
  for (const auto& answer : had.answers)
    lost.tokens += sampled_tokens(answer);
  return lost;
}

/// What is kept of a turn while its environment works.
rollout::ended_turn without_tokens(rollout::ended_turn turn) {
  turn.sampled.reset();
  return turn;
}

transport::wanted_columns prompt_columns() {
  return {.required = column::names(column::prompt, column::prompt_lengths)};
}

} // namespace

/// What the requests' thread works on. It holds the other two threads, whose jobs hold none of it.
struct rollout_role::state {
  /// How often the episodes of each group have called tools, and their clients rewritten what was said. Any thread.
  class call_counts {
  public:
    struct count {
      std::int64_t calls = 0, malformed = 0, rewritten = 0; ///< histories, by environments or their clients
    };

    void add(std::uint64_t group, const std::vector<tool_call>& calls) {
      const std::lock_guard hold(lock_);
      auto& here = counts_[group];
      here.calls += std::ssize(calls);
      here.malformed += std::count_if(calls.begin(), calls.end(), [](const auto& call) { return !call.error.empty(); });
    }

    void add_rewritten(std::uint64_t group) {
      const std::lock_guard hold(lock_);
      ++counts_[group].rewritten;
    }

    /// What was counted of a group; it is forgotten.
    count take(std::uint64_t group) {
      const std::lock_guard hold(lock_);
      const auto found = counts_.extract(group);
      return found ? found.mapped() : count();
    }

  private:
    std::mutex lock_;
    std::map<std::uint64_t, count> counts_;
  };

  /// A group whose columns are being pulled.
  struct pulling {
    std::uint32_t attempt = 0;
    bool interrupted = false;
  };

  /// A group whose answers are episodes.
  struct playing {
    std::uint32_t attempt = 0;
    std::uint32_t since = 0; ///< `episode_place::since`
    std::shared_ptr<environment> with;
    std::vector<std::string> tools = {}; ///< that it offers
  };

  struct waiting_flip {
    weights_live answer;
    answer_to<weights_live> done;
  };

  state(const role_setup& from, const pipeline::rollout_table& table)
      : setup(from), words(load_text_model(*from.pipeline, table.model)), requests(*from.pipeline, table, words),
        in_flight(from.who.name()), device(device_for(*from.pipeline, from.role(), table.model)),
        kept(from.pipeline->models.at(table.model).sampled_as()) {
    device_for(*from.pipeline, from.role(), word(kept), "models." + table.model + ".rollout_dtype");
    device_for(*from.pipeline, from.role(), word(table.cache_dtype), "roles." + from.who.role + ".cache_dtype");
  }

  void accept(asked_group group, columns::column_set prompt, std::optional<columns::column_set> partial);
  void begin_episodes(const asked_group& group, std::optional<rollout::partial_group> so_far);
  void submit(const asked_group& group, const episodes_begun& with, std::optional<rollout::partial_group> so_far);
  void take_turn(std::uint32_t attempt, const rollout::ended_turn& turn);
  void turn_is_taken(std::uint32_t attempt, const rollout::ended_turn& turn, const turn_taken& said,
                     const std::string& error);
  void lay_out(coming_weights weights, columns::pulled_weights parameters);
  void hand_over(coming_weights weights, std::shared_ptr<const model::decoder> policy, double laid_out_s);
  void flipped(std::uint32_t version);
  decode_loop::events loop_events();

  /// Does `work` on the requests' thread, if the role still lives.
  using poster = std::function<void(std::function<void(state&)> work)>;

  role_setup setup;
  model::checkpoint words; ///< tokenizer, template and shape; no weights
  rollout_requests requests;
  std::shared_ptr<call_counts> called = std::make_shared<call_counts>();
  telemetry::in_flight_groups in_flight;
  at::Device device;
  sampling_precision kept; ///< of matrices
  poster post;
  std::map<std::uint64_t, pulling> pulls; ///< by group
  std::map<std::uint64_t, playing> plays; ///< by group
  std::vector<waiting_flip> flips;
  std::optional<std::uint32_t> handed_over; ///< the newest version that the decode loop was given
  std::optional<std::uint32_t> live;        ///< the newest that it said it samples from
  std::unique_ptr<decode_loop> loop;
  std::unique_ptr<job_thread> layout;
  std::unique_ptr<columns::version_pulls> versions;
  std::unique_ptr<endpoint::model_server> clients; ///< nullptr: nobody is served
};

rollout_role::rollout_role(const role_setup& setup, const pipeline::rollout_table& table)
    : state_(std::make_shared<state>(setup, table)), requests_(std::make_unique<job_thread>()) {
  kernels::spare_memory::of_process().keep();
  state_->post = [post = requests_->weak_poster(), weak_state = std::weak_ptr(state_)](auto work) {
    post([weak_state, work = std::move(work)] {
      if (const auto alive = weak_state.lock())
        work(*alive);
    });
  };
  state_->layout = std::make_unique<job_thread>();
  state_->versions = std::make_unique<columns::version_pulls>(*setup.data, parts_pulled(*setup.pipeline, true),
                                                              state_->layout->weak_poster());
  const auto options = state_->requests.engine_options(setup.threads());
  state_->loop = std::make_unique<decode_loop>(setup.who.name(), state_->words.tok, options, state_->loop_events(),
                                               setup.pipeline->schedule.interrupt.granularity,
                                               static_cast<std::int32_t>(table.serve_slots));
  state_->clients = policy_service(setup.who, table, state_->words, options.max_context, state_->loop->clients());
}

rollout_role::~rollout_role() = default;

void rollout_role::close() {
  if (state_->clients)
    state_->clients->close("the run has ended");
}

decode_loop::events rollout_role::state::loop_events() {
  decode_loop::events on;
  const auto greedy = static_cast<std::size_t>(requests.greedy());
  const auto over = [held = in_flight, post = post](group_attempt which) {
    held.end(which);
    post([which](state& self) {
      if (const auto found = self.plays.find(which.group);
          found != self.plays.end() && found->second.attempt == which.attempt)
        self.plays.erase(found);
    });
  };
  on.finished = [setup = setup, greedy, over, tok = words.tok, called = called,
                 this](std::uint32_t attempt, const std::vector<std::int32_t>& prompt,
                       const rollout::finished_group& group) { // the loop calls it: it is there
    const auto count = called->take(group.group);
    setup.events.generated({.from = setup.who,
                            .group = group.group,
                            .attempt = attempt,
                            .columns = setup.data->publish(columns::columns_of(prompt, group, greedy, tok.get())),
                            .tokens = columns::tokens_by_version(group.answers, greedy),
                            .prefill_s = group.first_token_s,
                            .baseline_tokens = columns::greedy_tokens(group, greedy),
                            .answers = columns::tokens_by_oldest_version(group, greedy),
                            .surplus_tokens = group.surplus_tokens,
                            .prompt_tokens_found = group.prompt_tokens_found,
                            .prompt_tokens_computed = group.prompt_tokens_computed,
                            .tool_calls = count.calls,
                            .malformed_calls = count.malformed,
                            .rewritten_histories = count.rewritten,
                            .client_tokens = loop->take_client_tokens()});
    over({group.group, attempt});
  };
  on.interrupted = [setup = setup, greedy, over](std::uint32_t attempt, const rollout::partial_group& so_far,
                                                 const std::string& why) {
    if (!why.empty()) {
      setup.events.lost(lost_group(setup.who, attempt, so_far, why));
      over({so_far.group, attempt});
      return;
    }
    group_interrupted what{.from = setup.who,
                           .group = so_far.group,
                           .attempt = attempt,
                           .partial = {},
                           .tokens = columns::tokens_by_version(so_far.answers, greedy)};
    if (!what.tokens.empty())
      what.partial = setup.data->publish(columns::columns_of(so_far));
    setup.events.interrupted(std::move(what));
    over({so_far.group, attempt});
  };
  on.turn_ended = [post = post](std::uint32_t attempt, const rollout::ended_turn& turn) {
    post([attempt, turn](state& self) { self.take_turn(attempt, turn); });
  };
  on.failed = [events = setup.events](const std::string& why) { events.failed("generation ended: " + why); };
  on.flipped = [post = post](std::uint32_t version) { post([version](state& self) { self.flipped(version); }); };
  return on;
}

// -- groups ----------------------------------------------------------------------------------------------------------

void rollout_role::generate(const generate_group& ask, std::shared_ptr<environment> plays,
                            answer_to<group_accepted> done) {
  const asked_group asked{.ask = ask,
                          .plays = std::move(plays),
                          .done = std::move(done),
                          .open = telemetry::in_flight_guard(state_->in_flight, {ask.group, ask.attempt})};
  state_->post([asked](state& self) {
    self.plays.erase(asked.ask.group);
    self.pulls[asked.ask.group] = {.attempt = asked.ask.attempt, .interrupted = false};
    columns::pull_columns(
        *self.setup.data, std::span(&asked.ask.columns, 1), prompt_columns(), self.setup.deadline(),
        [asked, post = self.post, data = self.setup.data.get(), // alive: it calls this handler
         deadline = self.setup.deadline()](columns::column_set prompt, const std::string& error) {
          if (!error.empty())
            asked.lost(error);
          else if (asked.ask.partial.id == 0)
            post([asked, prompt = std::move(prompt)](state& again) { again.accept(asked, prompt, {}); });
          else
            data->pull(asked.ask.partial, deadline, [asked, post, prompt](transport::pull_result pulled) {
              if (!pulled)
                asked.lost(pulled.error);
              else
                post([asked, prompt, partial = columns::column_set(std::move(pulled.value))](state& again) {
                  again.accept(asked, prompt, partial);
                });
            });
        });
  });
}

void rollout_role::state::accept(asked_group group, columns::column_set prompt,
                                 std::optional<columns::column_set> partial) {
  const auto& ask = group.ask;
  const auto pulled = pulls.find(ask.group);
  if (pulled == pulls.end() || pulled->second.attempt != ask.attempt) {
    group.lost("the group was cancelled");
    return;
  }
  std::optional<rollout::partial_group> so_far;
  std::vector<chat_turn> turns;
  try {
    if (partial)
      so_far = columns::partial_of(ask.group, *partial);
    if (!group.plays)
      turns = columns::prompt_in(prompt);
  } catch (const std::exception& error) {
    pulls.erase(pulled);
    group.lost(error.what());
    return;
  }
  if (group.plays)
    begin_episodes(group, std::move(so_far));
  else
    submit(group, {.prompt = turns}, std::move(so_far));
}

void rollout_role::state::begin_episodes(const asked_group& group, std::optional<rollout::partial_group> so_far) {
  const auto& ask = group.ask;
  group.plays->begin({.group = ask.group,
                      .since = ask.played.since,
                      .answers = std::max(ask.answers, ask.started) + requests.greedy(),
                      .seed = ask.seed,
                      .columns = ask.columns,
                      .with_history = requests.with_history()},
                     [group, so_far, post = post](const episodes_begun& begun, const std::string& error) {
                       if (!error.empty())
                         group.lost("its environment: " + error);
                       else
                         post([group, so_far, begun](state& self) { self.submit(group, begun, so_far); });
                     });
}

void rollout_role::state::submit(const asked_group& group, const episodes_begun& with,
                                 std::optional<rollout::partial_group> so_far) {
  const auto& ask = group.ask;
  const auto pulled = pulls.find(ask.group);
  if (pulled == pulls.end() || pulled->second.attempt != ask.attempt) {
    group.lost("the group was cancelled");
    return;
  }
  const bool interrupted = pulled->second.interrupted;
  pulls.erase(pulled);
  answer_now<group_accepted>(group.done, [&] {
    auto request = requests.make(ask, with.prompt, with.tools);
    const group_accepted accepted{.group = ask.group,
                                  .prompt_tokens = static_cast<std::int64_t>(request.prompt.size())};
    if (group.plays)
      plays[ask.group] = {.attempt = ask.attempt, .since = ask.played.since, .with = group.plays, .tools = with.tools};
    loop->submit(std::move(request), ask.attempt, std::move(so_far));
    group.open.hand_over(); // the loop's events end it
    if (interrupted)
      loop->interrupt(ask.group, ask.attempt);
    return accepted;
  });
}

void rollout_role::state::take_turn(std::uint32_t attempt, const rollout::ended_turn& turn) {
  const auto found = plays.find(turn.group);
  if (found == plays.end() || found->second.attempt != attempt)
    return; // it was cancelled, or goes on in another attempt
  called_turn read;
  if (!found->second.tools.empty()) {
    read = requests.calls_in(turn.text);
    called->add(turn.group, read.calls);
  }
  found->second.with->take(
      {.group = turn.group,
       .since = found->second.since,
       .answer = turn.answer,
       .turn = turn.turn,
       .text = turn.text,
       .cut_off = turn.finish == rollout::finish_reason::length,
       .last = turn.room == 0,
       .read = std::move(read),
       .prompt_tokens = turn.read,
       .tokens = turn.written,
       .sampled = requests.sampled(turn)},
      [attempt, turn = without_tokens(turn), post = post](const turn_taken& said, const std::string& error) {
        post([=](state& self) { self.turn_is_taken(attempt, turn, said, error); });
      });
}

void rollout_role::state::turn_is_taken(std::uint32_t attempt, const rollout::ended_turn& turn, const turn_taken& said,
                                        const std::string& error) {
  const auto found = plays.find(turn.group);
  if (found == plays.end() || found->second.attempt != attempt)
    return; // it was cancelled, or goes on in another attempt
  std::string why = error;
  if (said.rewritten)
    called->add_rewritten(turn.group);
  try {
    if (why.empty()) {
      auto reply = reply_in_tokens(words, turn, said, found->second.tools);
      if (!reply.done && !fits(turn, reply))
        found->second.with->end({.group = turn.group, .since = found->second.since, .answer = turn.answer});
      return loop->reply(attempt, turn, std::move(reply));
    }
  } catch (const std::exception& wrong) {
    why = wrong.what();
  }
  loop->give_up(turn.group, attempt, "its environment: " + why);
}

void rollout_role::cancel(const cancel_group& ask) {
  state_->in_flight.end(ask.group);
  state_->post([group = ask.group](state& self) {
    self.pulls.erase(group);
    self.plays.erase(group);
    self.called->take(group);
    self.loop->cancel(group);
  });
}

void rollout_role::interrupt(const interrupt_group& ask) {
  state_->post([ask](state& self) {
    const auto open = self.pulls.find(ask.group);
    if (open != self.pulls.end() && open->second.attempt == ask.attempt)
      open->second.interrupted = true;
    else
      self.loop->interrupt(ask.group, ask.attempt);
  });
}

// -- weights ---------------------------------------------------------------------------------------------------------

void rollout_role::take(const new_weights& ask, answer_to<weights_live> done) {
  coming_weights weights{.ask = ask, .done = std::move(done), .asked_s = telemetry::now_s()};
  state_->versions->pull(
      ask.version, ask.parameters, state_->setup.deadline(),
      [weights, post = state_->post](columns::pulled_weights pulled, const std::string& error) mutable {
        if (!error.empty()) {
          weights.done({}, error);
          return;
        }
        weights.arrived_s = telemetry::now_s();
        post([weights, pulled = std::move(pulled)](state& self) { self.lay_out(weights, pulled); });
      });
}

void rollout_role::state::lay_out(coming_weights weights, columns::pulled_weights parameters) {
  const std::string track = "layout of " + setup.who.name();
  telemetry::process_trace().record({.track = track,
                                     .name = "pull version " + std::to_string(weights.ask.version),
                                     .category = std::string(telemetry::cause::transfer),
                                     .start_s = weights.asked_s,
                                     .duration_s = weights.arrived_s - weights.asked_s,
                                     .args = {}});
  layout->post([weights = std::move(weights), parameters = std::move(parameters), track, post = post,
                config = words.config, on = device, kept = kept, threads = setup.threads()] {
    std::shared_ptr<const model::decoder> policy;
    try {
      const telemetry::timed span(telemetry::process_trace(), track,
                                  "layout of version " + std::to_string(weights.ask.version),
                                  telemetry::cause::compute);
      policy = model::inference_decoder(config, columns::weights_of(parameters), on, kept,
                                        {.spare = &kernels::spare_memory::of_process(), .threads = threads});
    } catch (const std::exception& error) {
      weights.done({}, error.what());
      return;
    }
    post([weights, policy, at_s = telemetry::now_s()](state& self) { self.hand_over(weights, policy, at_s); });
  });
}

void rollout_role::state::hand_over(coming_weights weights, std::shared_ptr<const model::decoder> policy,
                                    double laid_out_s) {
  const auto version = weights.ask.version;
  weights_live answer{
      .version = version, .pull_s = weights.arrived_s - weights.asked_s, .layout_s = laid_out_s - weights.arrived_s};
  if (live >= version) { // RO-3
    answer.version = *live;
    weights.done(answer, {});
    return;
  }
  flips.push_back({.answer = answer, .done = std::move(weights.done)});
  if (handed_over < version) {
    handed_over = version;
    loop->hand_over_weights(std::move(policy), version,
                            weights.ask.in_flight ? flip_time::in_flight : flip_time::when_idle,
                            setup.pipeline->schedule.interrupt.kv);
  }
}

void rollout_role::state::flipped(std::uint32_t version) {
  live = version;
  std::erase_if(flips, [&](waiting_flip& flip) {
    if (flip.answer.version > version)
      return false;
    flip.answer.version = version;
    flip.done(flip.answer, {});
    return true;
  });
}

role_abilities made(const role_setup& setup, const pipeline::rollout_table& table) {
  const auto role = std::make_shared<rollout_role>(setup, table);
  return {.generates = role,
          .takes_weights = role,
          .serves_clients = role,
          .places = pipeline::places_of(table, setup.pipeline->schedule)};
}

} // namespace millrace::roles
