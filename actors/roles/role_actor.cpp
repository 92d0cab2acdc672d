#include "actors/roles/role_actor.hpp"

#include "runtime/run_files/storage.hpp"
#include "runtime/telemetry/in_flight.hpp"
#include "runtime/telemetry/trace.hpp"
#include "runtime/words/input_error.hpp"
#include "runtime/words/milliseconds.hpp"

#include <exception>
#include <string>
#include <utility>

namespace millrace::actors {
namespace {

/// Answers a request with what a role hands on.
template <class Answer>
roles::answer_to<Answer> answering(reply<Answer> done) {
  return [done = std::move(done)](Answer answer, const std::string& error) {
    if (error.empty())
      done(std::move(answer));
    else
      done.refuse(error);
  };
}

// One function an ability.

/// An environment in whatever process it lives, asked by the actor of a role that plays with it.
class environment_afar final : public roles::environment {
public:
  environment_afar(actor& asks, const episode_place& place)
      : asks_(asks), me_(asks.weak()), place_(place), deadline_(milliseconds_of(place.deadline_s)) {}

  void begin(const begin_episodes& what, roles::answer_to<episodes_begun> done) override { ask(what, std::move(done)); }

  void take(const take_turn& what, roles::answer_to<turn_taken> done) override { ask(what, std::move(done)); }

  void end(const end_episodes& what) override { tell(place_.environment, what); }

private:
  /// From any thread: the actor asks, if it still lives.
  template <class Message, class Answer>
  void ask(const Message& what, roles::answer_to<Answer> done) {
    continue_in(me_, [&asks = asks_, to = place_.environment, deadline = deadline_, what, done = std::move(done)] {
      asks.ask(
          to, what, deadline, [done](const Answer& answer) { done(answer, {}); },
          [done](const refusal& why) { done({}, why.line); });
    });
  }

  actor& asks_;
  weak_address me_;
  episode_place place_;
  std::chrono::milliseconds deadline_;
};

void serve(actor& self, inbox& in, const std::shared_ptr<roles::generator>& role) {
  in.on<generate_group>([role, &self](const generate_group& ask, reply<group_accepted> done) {
    std::shared_ptr<roles::environment> plays;
    if (ask.played.environment)
      plays = std::make_shared<environment_afar>(self, ask.played);
    role->generate(ask, std::move(plays), answering(std::move(done)));
  });
  in.on<cancel_group>([role](const cancel_group& what) { role->cancel(what); });
  in.on<interrupt_group>([role](const interrupt_group& what) { role->interrupt(what); });
}

/// One group on its way through a role that adds columns.
struct passing_group {
  weak_address actor;
  role_place place;
  process_group ask;
  reply<group_columns> done;
  telemetry::in_flight_guard open;
  double start_s = telemetry::now_s();

  void answer(roles::added_columns added, const std::string& error) const {
    group_columns answer{.group = ask.group,
                         .attempt = ask.attempt,
                         .columns = {},
                         .summary = std::move(added.summary),
                         .complaint = std::move(added.complaint),
                         .scores = std::move(added.scores),
                         .busy_s = telemetry::now_s() - start_s};
    if (error.empty())
      answer.columns = place.data->publish(std::move(added.columns));
    telemetry::process_trace().record({.track = place.who.name(),
                                       .name = "group " + std::to_string(ask.group),
                                       .category = std::string(telemetry::cause::compute),
                                       .start_s = start_s,
                                       .duration_s = answer.busy_s,
                                       .args = {}});
    if (error.empty())
      done(std::move(answer));
    else
      done.refuse(error);
    continue_in(actor, [keep = open] {}); // behind the answer: the group ends once that is sent
  }
};

void hand_over(roles::column_adder& role, const std::shared_ptr<const passing_group>& group,
               columns::column_set columns) {
  try {
    role.add(group->ask, std::move(columns),
             [group](roles::added_columns added, const std::string& error) { group->answer(std::move(added), error); });
  } catch (const std::exception& failure) { // as the inbox has it for other requests, but on the data plane's thread
    group->answer({}, failure.what());
  }
}

void serve(actor& self, inbox& in, const std::shared_ptr<roles::column_adder>& role, const role_place& place) {
  const telemetry::in_flight_groups in_flight(place.who.name());
  in.on<process_group>([role, place, in_flight, me = self.weak()](const process_group& ask, reply<group_columns> done) {
    const auto group = std::make_shared<passing_group>(
        passing_group{.actor = me,
                      .place = place,
                      .ask = ask,
                      .done = std::move(done),
                      .open = telemetry::in_flight_guard(in_flight, {ask.group, ask.attempt})});
    columns::pull_columns(*place.data, ask.columns, role->reads(), place.deadline,
                          [role, group](columns::column_set columns, const std::string& error) {
                            if (error.empty())
                              hand_over(*role, group, std::move(columns));
                            else
                              group->answer({}, error);
                          });
  });
}

void serve(inbox& in, const std::shared_ptr<roles::group_keeper>& role) {
  in.on<fetch_group>(
      [role](const fetch_group& ask, reply<group_fetched> done) { role->fetch(ask, answering(std::move(done))); });
  in.on<forget_group>([role](const forget_group& what) { role->forget(what); });
}

void serve(inbox& in, const std::shared_ptr<roles::trainer>& role) {
  serve(in, std::shared_ptr<roles::group_keeper>(role));
  in.on<train_batch>(
      [role](const train_batch& ask, reply<batch_report> done) { role->train(ask, answering(std::move(done))); });
  in.on<interrupt_training>([role](const interrupt_training& what) { role->interrupt(what); });
  in.on<end_step>([role](const end_step& how) {
    role->end_step(how);
    return step_ended{how.step};
  });
}

void serve(inbox& in, const std::shared_ptr<roles::weights_giver>& role) {
  in.on<publish_weights>([role](const publish_weights& ask, reply<weights_published> done) {
    role->publish(ask, answering(std::move(done)));
  });
  in.on<hold_weights>([role](const hold_weights& what) { role->hold(what); });
  in.on<weights_taken>([role](const weights_taken& what) { role->let_go(what); });
}

void serve(inbox& in, const std::shared_ptr<roles::weights_taker>& role) {
  in.on<new_weights>(
      [role](const new_weights& ask, reply<weights_live> done) { role->take(ask, answering(std::move(done))); });
}

void serve(inbox& in, const std::shared_ptr<roles::evaluator>& role) {
  in.on<evaluate_version>([role](const evaluate_version& ask, reply<version_evaluated> done) {
    role->evaluate(ask, answering(std::move(done)));
  });
}

void serve(inbox& in, const std::shared_ptr<roles::state_keeper>& role) {
  in.on<write_checkpoint>([role](const write_checkpoint& ask, reply<checkpoint_written> done) {
    role->write(ask, answering(std::move(done)));
  });
}

void serve(inbox& in, const std::shared_ptr<roles::environment>& role) {
  in.on<begin_episodes>(
      [role](const begin_episodes& ask, reply<episodes_begun> done) { role->begin(ask, answering(std::move(done))); });
  in.on<take_turn>(
      [role](const take_turn& ask, reply<turn_taken> done) { role->take(ask, answering(std::move(done))); });
  in.on<end_episodes>([role](const end_episodes& ask) { role->end(ask); });
}

void serve(inbox& in, const std::shared_ptr<roles::rank>& role) {
  in.on<form_ranks>([role](const form_ranks& how) { role->form(how); });
  in.on<rank_word>([role](const rank_word& word) { role->hear(word); });
  in.on<part_ranks>([role](const part_ranks& how) { role->part(how); });
}

file_found found(const find_file& ask) {
  try {
    if (run_files::read_file(ask.path) == ask.content)
      return {};
  } catch (const run_files::storage_error& error) {
    throw input_error(error.what());
  }
  throw input_error(ask.path + " is another file here");
}

} // namespace

actor::setup role_actor(role_place place, roles::role_abilities abilities) {
  return [place = std::move(place), abilities = std::move(abilities)](actor& self, inbox& in) {
    if (abilities.generates)
      serve(self, in, abilities.generates);
    if (abilities.adds_columns)
      serve(self, in, abilities.adds_columns, place);
    if (abilities.trains)
      serve(in, abilities.trains);
    if (abilities.keeps_groups)
      serve(in, abilities.keeps_groups);
    if (abilities.gives_weights)
      serve(in, abilities.gives_weights);
    if (abilities.takes_weights)
      serve(in, abilities.takes_weights);
    if (abilities.evaluates)
      serve(in, abilities.evaluates);
    if (abilities.keeps_state)
      serve(in, abilities.keeps_state);
    if (abilities.joins_ranks)
      serve(in, abilities.joins_ranks);
    if (abilities.plays_episodes)
      serve(in, abilities.plays_episodes);
    if (abilities.keeps_state || abilities.joins_ranks)
      in.on<find_file>(found);
  };
}

role_ready ready_message(const role_place& place, const roles::role_abilities& abilities, const address& where) {
  role_ready ready{.who = place.who, .node = place.node};
  const auto offer = [&](auto& handle, const auto& ability) {
    if (ability)
      handle = std::decay_t<decltype(handle)>(where);
  };
  offer(ready.generator, abilities.generates);
  offer(ready.column_adder, abilities.adds_columns);
  offer(ready.keeper, abilities.keeps_groups);
  offer(ready.trainer, abilities.trains);
  offer(ready.publisher, abilities.gives_weights);
  offer(ready.weights_taker, abilities.takes_weights);
  offer(ready.evaluator, abilities.evaluates);
  offer(ready.state_keeper, abilities.keeps_state);
  offer(ready.rank, abilities.joins_ranks);
  offer(ready.environment, abilities.plays_episodes);
  ready.capacity_groups = abilities.places;
  if (abilities.trains) {
    ready.parameters = abilities.trains->parameter_count();
    ready.needs_returns = abilities.trains->needs_returns();
  }
  if (abilities.evaluates)
    ready.rows = abilities.evaluates->rows();
  return ready;
}

} // namespace millrace::actors
