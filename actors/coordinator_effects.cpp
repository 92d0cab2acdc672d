#include "actors/coordinator_shell.hpp"

#include "actors/column_set.hpp"
#include "actors/errors.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/train/learner.hpp"

#include <algorithm>
#include <cmath>
#include <unistd.h>

/// What the coordinator does to the world for `coordination`: messages with deadlines, files.
namespace millrace::actors {
namespace {

constexpr std::uint64_t most_refusals_in_a_row = 1000; ///< of prompts: data of which nothing fits would never end

} // namespace

// -- effects: groups -------------------------------------------------------------------------------------------------

void coordinator_state::take_prompt(std::uint64_t index) {
  self_->request(source_, deadline(config_.pipeline->run.request_deadline_s), actors::take_prompt{index})
      .then(
          [this](const prompt_row& row) {
            if (row.skipped_rows > 0)
              config_.record->skipped("unusable row", static_cast<std::int64_t>(row.skipped_rows));
            coordination_->prompt_arrived(row, now());
          },
          [this](const caf::error& error) { fail("source: " + line_of(error)); });
}

void coordinator_state::generate(const role_instance& rollout, const generate_group& what) {
  const auto handle = rollouts_.find(rollout.name());
  if (handle == rollouts_.end())
    return; // its end is already on its way to the scheduler
  self_->request(handle->second, deadline(config_.pipeline->run.request_deadline_s), what)
      .then(
            [this, rollout, what](const group_accepted& answer) {
              refused_in_a_row_ = 0;
              if (answer.lost.empty())
                coordination_->generation_accepted(what.group, what.attempt);
              else
                coordination_->generation_refused(what.group, what.attempt, rollout.name() + ": what it had is lost: " + answer.lost, true,
                                                  now());
            },
            [this, rollout, what](const caf::error& error) {
              // An error with a line of its own is a refusal of the prompt; CAF's own errors are the network's.
              const bool refused = error.category() == caf::atom("system")
                                   && error.code() == static_cast<std::uint8_t>(caf::sec::runtime_error);
              if (refused) {
                config_.record->skipped("prompt refused", 1);
                if (++refused_in_a_row_ == most_refusals_in_a_row)
                  fail(std::to_string(refused_in_a_row_) + " prompts in a row were refused, the last one: " + line_of(error));
              }
              coordination_->generation_refused(what.group, what.attempt, rollout.name() + ": " + line_of(error), !refused,
                                                now());
            });
}

void coordinator_state::cancel(const role_instance& rollout, const cancel_group& what) {
  if (const auto handle = rollouts_.find(rollout.name()); handle != rollouts_.end())
    self_->send(handle->second, what);
}

void coordinator_state::interrupt(const role_instance& rollout, const interrupt_group& what) {
  if (const auto handle = rollouts_.find(rollout.name()); handle != rollouts_.end())
    self_->send(handle->second, what);
}

void coordinator_state::process(const role_instance& stage, const process_group& what) {
  const auto handle = stages_.find(stage.name());
  if (handle == stages_.end())
    return;
  // A critic's values wait while it trains.
  const auto& run = config_.pipeline->run;
  const bool trains = std::holds_alternative<pipeline::critic_table>(config_.pipeline->at(stage.role).options);
  self_->request(handle->second, deadline(trains ? 10 * run.stall_after_s : run.request_deadline_s), what)
      .then([this, stage](const group_columns& answer) { coordination_->processed(stage, answer, now()); },
            [this, stage, what](const caf::error& error) {
              coordination_->processing_failed(stage, what.group, what.attempt, line_of(error), now());
            });
}

/// Up to three take the columns: policy and critic, to train on them, and this process, for the trajectory file.
void coordinator_state::fetch(const fetch_group& what) {
  const auto within = deadline(config_.pipeline->run.request_deadline_s);
  const bool sampled = telemetry::is_sampled(what.group, config_.pipeline->run.trajectories_fraction);
  fetches_[{what.group, what.attempt}] = {1 + int{sampled} + int{critic_ != nullptr}, ""};
  const auto ask = [&](const auto& learner) {
    self_->request(learner, within, what)
        .then(
            [this, what](const group_fetched& fetched) {
              if (const auto open = fetches_.find({what.group, what.attempt}); open != fetches_.end())
                open->second.flat = fetched.flat;
              one_fetched(what, "");
            },
              [this, what](const caf::error& error) { one_fetched(what, line_of(error)); });
  };
  ask(policy_);
  if (critic_)
    ask(critic_);
  if (!sampled)
    return;
  const auto me = caf::actor_cast<coordinator_actor>(self_);
  pull_columns(*config_.data, what.columns, {}, within, [this, me, what](column_set columns, std::string error) {
    continue_in(caf::actor_cast<coordinator_shell>(me), [this, what, columns, line = error]() mutable {
      try {
        if (const auto* row = coordination_->row_of(what.group); row && line.empty())
          config_.record->keep(trajectory_of(what.group, *row, columns));
      } catch (const std::exception& malformed) {
        line = malformed.what();
      }
      one_fetched(what, line);
    });
  });
}

void coordinator_state::one_fetched(const fetch_group& what, const std::string& error) {
  const auto found = fetches_.find({what.group, what.attempt});
  if (found == fetches_.end())
    return;
  if (!error.empty() && found->second.error.empty())
    found->second.error = error;
  if (--found->second.missing > 0)
    return;
  const auto all = fetches_.extract(found).mapped();
  if (all.error.empty())
    coordination_->fetched({what.group, what.attempt, all.flat}, now());
  else
    coordination_->fetch_failed(what.group, what.attempt, all.error, now());
  progressed();
}

void coordinator_state::forget(std::uint64_t group) {
  config_.record->forget(group);
  if (policy_)
    self_->send(policy_, forget_group{group});
  if (critic_)
    self_->send(critic_, forget_group{group});
}

void coordinator_state::release(const std::vector<transport::ticket>& columns) {
  std::map<std::uint64_t, release_bundles> by_owner;
  for (const auto& ticket : columns)
    if (ticket.id != 0)
      by_owner[ticket.owner].ids.push_back(ticket.id);
  for (auto& [owner, bundles] : by_owner)
    if (const auto process = processes_.find(owner); process != processes_.end())
      self_->send(process->second.agent, std::move(bundles));
}

// -- effects: training and weights -----------------------------------------------------------------------------------

void coordinator_state::train(const train_batch& what) {
  const auto within = deadline(10 * config_.pipeline->run.stall_after_s);
  const auto critics = config_.pipeline->of<pipeline::critic_table>();
  const bool beside = critic_ && !what.groups.empty();
  round_ = training_round(what.step, what.part, config_.pipeline->policy().name, beside ? critics.at(0)->name : "");
  // Where the critic's targets are made of the policy's log-probabilities it trains after the policy, else beside it.
  const bool after = beside && train::makes_returns(std::get<pipeline::policy_table>(config_.pipeline->policy().options).algorithm);
  self_->request(policy_, within, what)
      .then(
          [this, what, after](const batch_report& report) {
            if (after && !report.interrupted) {
              auto with_targets = what;
              with_targets.returns = report.returns;
              train_critic(with_targets);
            }
            step_answered(round_.policy_answered(report));
          },
          [this](const caf::error& error) { coordination_->training_failed(line_of(error)); });
  if (beside && !after)
    train_critic(what);
}

void coordinator_state::train_critic(const train_batch& what) {
  self_->request(critic_, deadline(10 * config_.pipeline->run.stall_after_s), what)
      .then(
          [this, returns = what.returns](const batch_report& report) {
            release({returns});
            step_answered(round_.critic_answered(report));
          },
          [this](const caf::error& error) {
            if (round_.under_way()) // else the policy was interrupted, and nobody waits for this
              coordination_->training_failed("critic: " + line_of(error));
          });
}

void coordinator_state::step_answered(std::optional<training_round::outcome> end) {
  progressed();
  if (!end)
    return;
  if (!end->beside_critic) {
    coordination_->trained(end->report, now());
    return;
  }
  // The step is over once the critic has it in its queue: values of the groups to come are those of after the step.
  if (!end->critic_applies)
    self_->send(critic_, actors::interrupt_training{end->report.step});
  self_->request(critic_, deadline(config_.pipeline->run.request_deadline_s), end_critic_step{end->report.step, end->critic_applies, end->report.part})
      .then([this, report = end->report](const critic_step_ended&) { coordination_->trained(report, now()); },
            [this](const caf::error& error) { coordination_->training_failed("critic: " + line_of(error)); });
}

void coordinator_state::interrupt_training(std::uint64_t step) { self_->send(policy_, actors::interrupt_training{step}); }

void coordinator_state::publish(std::uint32_t version) {
  self_->request(policy_, deadline(10 * config_.pipeline->run.stall_after_s), publish_weights{version})
      .then(
          [this](const weights_published& result) { have_followed(result); },
          [this, version](const caf::error& error) { coordination_->publishing_failed(version, line_of(error)); });
}

/// The version counts as published once every reference that follows the policy has it in its queue.
void coordinator_state::have_followed(const weights_published& what) {
  newest_ = what;
  const auto missing = std::make_shared<std::size_t>(references_.size() + 1);
  const auto one = [this, what, missing] {
    if (--*missing > 0)
      return;
    coordination_->published(what);
    progressed();
  };
  for (const auto& [name, reference] : references_)
    self_->request(reference, deadline(10 * config_.pipeline->run.stall_after_s), follow_policy{what.version, what.parameters})
        .then([one](const policy_followed&) { one(); },
              [this, who = name](const caf::error& error) { fail(who + ": " + line_of(error)); });
  one();
}

void coordinator_state::send_weights(const role_instance& rollout, const new_weights& what) {
  const auto handle = rollouts_.find(rollout.name());
  if (handle == rollouts_.end())
    return;
  // Without in-flight update the answer waits for the groups under way.
  const auto& run = config_.pipeline->run;
  weights_sent_[rollout.name()] = what.version;
  const auto answered = [this, who = rollout.name()](std::uint32_t version) {
    if (const auto sent = weights_sent_.find(who); sent != weights_sent_.end() && sent->second <= version)
      weights_sent_.erase(sent);
  };
  self_->request(handle->second, deadline(run.request_deadline_s + run.stall_after_s), what)
      .then(
          [this, answered, rollout](const weights_live& live) {
            answered(live.version);
            coordination_->weights_are_live(rollout, live.version, now());
            progressed();
          },
          [this, answered, rollout, version = what.version](const caf::error& error) {
            answered(version);
            coordination_->weights_failed(rollout, version, line_of(error));
          });
}

void coordinator_state::hold_weights(const actors::hold_weights& what) {
  if (policy_)
    self_->send(policy_, what);
}

// -- effects: evaluations --------------------------------------------------------------------------------------------

void coordinator_state::evaluate(const role_instance& evaluation, const evaluate_version& what) {
  const auto handle = evaluations_.find(evaluation.name());
  if (handle == evaluations_.end())
    return; // its end is already on its way
  const auto& table = std::get<pipeline::evaluation_table>(config_.pipeline->at(evaluation.role).options);
  self_->request(handle->second, deadline(table.deadline_s), what)
      .then([this, evaluation](const version_evaluated& result) { version_is_evaluated(evaluation, result); },
            [this, evaluation, version = what.version](const caf::error& error) {
              if (coordination_->evaluated(evaluation, version, false))
                complain("evaluation of version " + std::to_string(version) + " by " + evaluation.name() + " is lost: " + line_of(error));
            });
}

void coordinator_state::evaluation_goes_on(const evaluation_progress& progress) {
  progressed();
  if (coordination_->ending())
    config_.record->show_doing(progress.who.role + " " + std::to_string(progress.done) + "/" + std::to_string(progress.rows));
}

void coordinator_state::version_is_evaluated(const role_instance& who, const version_evaluated& result) {
  try {
    config_.record->evaluated(who.role, result.version, result.figures, result.tokens, result.seconds);
  } catch (const std::exception& error) {
    fail(error.what());
    return;
  }
  stop_if_told();
  coordination_->evaluated(who, result.version, true);
  progressed();
}

/// By `run.stop_when`.
void coordinator_state::stop_if_told() {
  const auto& why = config_.record->stop_reason();
  if (why.empty() || coordination_->stopping() || coordination_->scheduler().finished())
    return;
  telemetry::log_info("run", "stopping early: " + why);
  coordination_->stop(now(), false);
}

void coordinator_state::batch_done(const batch_report& report, const std::vector<std::uint64_t>& groups) {
  for (const auto group : groups)
    step_.add_group(coordination_->summary_of(group));
  step_.add_masked(report.masked_tokens);
  try {
    config_.record->trained(static_cast<std::int64_t>(report.step), report.part, groups);
    if (!report.lineage.empty()) {
      auto lineage = train::step_lineage_from(report.lineage);
      for (auto& group : lineage.groups)
        group.by = coordination_->answered_by(group.group);
      lineage.followed = !references_.empty() && newest_ && newest_->version == lineage.version;
      config_.record->remember(std::move(lineage));
    }
  } catch (const std::exception& error) {
    fail(error.what());
  }
  const auto step = "step " + std::to_string(report.step) + (report.part > 0 || !report.ends_step ? ", part " + std::to_string(report.part + 1) : "");
  if (report.skipped)
    complain(step + " was skipped: " + report.complaint);
  else if (!report.complaint.empty())
    complain(step + ": " + report.complaint);
  if (report.ends_step)
    step_done(report);
}

void coordinator_state::step_done(const batch_report& report) {
  auto figures = report.metrics;
  for (const auto& [name, value] : std::exchange(step_, {}).figures())
    figures[name] = value;
  // The scheduler hears of the batch after this: its books do not hold it yet.
  figures[std::string(telemetry::metric::tokens)]
      = static_cast<double>(coordination_->scheduler().books().trained().tokens + report.trained_tokens);
  figures["groups/zero_variance"]
      = static_cast<double>(coordination_->scheduler().books().dropped(schedule::drop_reason::zero_variance).groups);
  figures["groups/dropped"] = static_cast<double>(coordination_->dropped_groups());
  skipped_in_a_row_ = report.skipped ? skipped_in_a_row_ + 1 : 0;
  figures["steps/skipped"] = report.skipped ? 1 : 0;
  if (const auto most = config_.pipeline->run.max_skipped_steps; skipped_in_a_row_ >= most)
    fail(std::to_string(most) + " steps in a row were skipped (run.max_skipped_steps), the last one: " + report.complaint);
  try {
    config_.record->step_done(static_cast<std::int64_t>(report.step), std::move(figures), coordination_->scheduler());
    if (static_cast<std::int64_t>(report.step) < config_.pipeline->run.steps)
      stop_if_told();
  } catch (const std::exception& error) {
    fail(error.what());
  }
  if (const auto open = coordination_->scheduler().books().check(); !open.empty())
    fail("the ledger does not close at step " + std::to_string(report.step) + ": " + open);
}

// -- effects: checkpoints and the end --------------------------------------------------------------------------------

/// Policy and critic are asked before this returns: by PO-1 and CT-1 they write the weights of this very step, whatever is
/// trained next.
void coordinator_state::checkpoint(std::uint32_t step, const std::string& scheduler_state) {
  const auto within_step = coordination_->scheduler().at().part > 0 ? step_.saved() : std::string();
  const auto oldest = coordination_->scheduler().oldest_live();
  std::shared_ptr<telemetry::checkpoint_attempt> attempt;
  try {
    attempt = std::make_shared<telemetry::checkpoint_attempt>(config_.checkpoints->begin(step));
  } catch (const std::exception& error) {
    self_->send(self_, checkpoint_stored{step, "", error.what()});
    return;
  }
  const auto missing = std::make_shared<std::size_t>(1 + std::size_t{critic_ != nullptr} + references_.size());
  const auto ask = [&](const auto& learner) {
    self_->request(learner, deadline(10 * config_.pipeline->run.stall_after_s), write_checkpoint{attempt->folder().string()})
        .then(
            [this, attempt, step, scheduler_state, within_step, oldest, missing](const checkpoint_written&) {
              if (--*missing == 0)
                add_position(attempt, step, {scheduler_state, within_step}, oldest);
            },
            [this, attempt, step, missing](const caf::error& error) {
              if (std::exchange(*missing, 0) > 0)
                checkpoint_is_stored({step, "", line_of(error)});
            });
  };
  ask(policy_);
  if (critic_)
    ask(critic_);
  for (const auto& [name, reference] : references_)
    ask(reference);
}

void coordinator_state::add_position(const std::shared_ptr<telemetry::checkpoint_attempt>& attempt, std::uint32_t step,
                                     const saved_run& state, std::uint64_t oldest) {
  const auto me = caf::actor_cast<coordinator_actor>(self_);
  self_->request(source_, deadline(config_.pipeline->run.request_deadline_s), find_position{oldest})
      .then(
          [this, me, attempt, step, state](const source_position& position) {
            storage_->post([me, attempt, step, state, position] {
              try {
                const telemetry::timed span(telemetry::process_trace(), "coordinator", "checkpoint",
                                            telemetry::cause::storage);
                attempt->write("scheduler.txt", state.scheduler);
                if (!state.within_step.empty())
                  attempt->write("step.json", state.within_step);
                attempt->write("source.txt", std::to_string(position.index) + ' ' + std::to_string(position.epoch) + ' '
                                                 + std::to_string(position.next) + ' ' + std::to_string(position.rows) + '\n');
                const auto folder = attempt->commit();
                caf::anon_send(me, checkpoint_stored{step, folder.string(), ""});
              } catch (const std::exception& error) {
                caf::anon_send(me, checkpoint_stored{step, "", error.what()});
              }
            });
          },
          [this, attempt, step](const caf::error& error) {
            checkpoint_is_stored({step, "", "source: " + line_of(error)});
          });
}

void coordinator_state::checkpoint_is_stored(const checkpoint_stored& stored) {
  if (ended_)
    return;
  if (stored.failure.empty()) {
    telemetry::log_info("run", "checkpoint of step " + std::to_string(stored.step) + " in " + stored.folder);
    try {
      config_.record->checkpointed(stored.step, stored.folder);
    } catch (const std::exception& error) {
      complain(error.what()); // the checkpoint itself is there
    }
    coordination_->checkpointed(stored.step, now());
    progressed();
    return;
  }
  const auto line = telemetry::checkpoint_failure(config_.checkpoints->folder(), stored.step, stored.failure);
  const auto waits = coordination_->scheduler().waits();
  const bool last = std::any_of(waits.begin(), waits.end(),
                                [](const auto& wait) { return wait.kind == schedule::wait_kind::saving; });
  if (last)
    fail(line);
  else
    complain(line + "; the run goes on");
}

void coordinator_state::observe(const schedule::progress& depths) {
  const auto draw = [at = now()](const char* track, const char* name, double before, double after) {
    if (before != after)
      telemetry::process_trace().record(telemetry::counter{track, name, at, after});
  };
  const auto count = [&](const char* name, std::int64_t before, std::int64_t after) {
    draw("groups", name, static_cast<double>(before), static_cast<double>(after));
  };
  count("queued", observed_.queued, depths.queued);
  count("generating", observed_.generating, depths.generating);
  count("waiting for columns", observed_.finished, depths.finished);
  count("ready", observed_.ready, depths.ready);
  count("training", observed_.training, depths.training);
  const auto held = [](const schedule::progress& p) { return static_cast<double>(p.queued + p.generating + p.finished + p.ready + p.training); };
  draw("credits", "held", held(observed_), held(depths));
  if (std::isfinite(coordination_->scheduler().settings().depth))
    draw("credits", "free", observed_.free_credits, depths.free_credits);
  draw("lead", "steps", observed_.lead_steps, depths.lead_steps);
  observed_ = depths;
}

void coordinator_state::complain(const std::string& line) { telemetry::log_warning("run", line); }

void coordinator_state::finish(schedule::finish_reason reason) {
  end({true, reason == schedule::finish_reason::stopped ? "stopped" : "finished"});
}

void coordinator_state::fail(const std::string& why) {
  if (!ended_)
    end({false, why});
}

/// A run that ends well hears from its other processes what they did since their last report; a frozen one costs a second.
void coordinator_state::end(run_outcome outcome) {
  if (std::exchange(ended_, true))
    return;
  last_reports_ = 1;
  const auto one_less = [this, outcome] {
    if (--last_reports_ == 0)
      conclude(outcome);
  };
  if (outcome.ok)
    for (const auto& [node, process] : processes_)
      if (node != own_node) {
        ++last_reports_;
        self_->request(process.agent, std::chrono::seconds(1), report_now{})
            .then([this, one_less](const process_report& report) { take_report(report); one_less(); },
                  [one_less](const caf::error&) { one_less(); });
      }
  one_less();
}

void coordinator_state::conclude(run_outcome outcome) {
  try {
    config_.record->add_trace(telemetry::process_trace().take(), getpid(), "run", 0);
    config_.record->write_status(coordination_->scheduler(), outcome.ok ? outcome.line : "failed", role_states(), {});
    config_.record->finish(coordination_->scheduler(), outcome.ok ? outcome.line : "failed");
  } catch (const std::exception& error) {
    outcome = {false, error.what()};
  }
  for (const auto& [node, process] : processes_)
    self_->send(process.agent, end_process{outcome.line});
  const auto leave = [this](const auto& handle) { self_->send_exit(handle, caf::exit_reason::user_shutdown); };
  for (const auto& [who, rollout] : rollouts_)
    leave(rollout);
  for (const auto& [who, stage] : stages_)
    leave(stage);
  for (const auto& [who, evaluation] : evaluations_)
    leave(evaluation);
  if (policy_)
    leave(policy_);
  if (critic_)
    leave(critic_);
  for (const auto& [who, reference] : references_)
    leave(reference);
  if (source_)
    leave(source_);
  config_.on_end(outcome.ok ? run_outcome{true, ""} : outcome);
  self_->quit();
}

void coordinator_state::stop(const stop_run& why) {
  if (ended_)
    return;
  telemetry::log_info("run", "stopping: " + why.why);
  if (!policy_ || (!critic_ && !config_.pipeline->of<pipeline::critic_table>().empty()))
    fail("stopped before the models were loaded");
  else
    coordination_->stop(now());
}

} // namespace millrace::actors
