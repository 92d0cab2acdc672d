#include "actors/coordinator/coordinator_state.hpp"
#include "runtime/pipeline/abilities.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/words/milliseconds.hpp"

#include <algorithm>

/// What the coordinator does to the world for `group_router`: steps, versions and evaluations.
namespace millrace::actors {

// -- steps -----------------------------------------------------------------------------------------------------------

void coordinator_state::train(const train_batch& what) {
  std::vector<std::string> others;
  open_step_ = {};
  if (!what.groups.empty())
    each_trainer([&](const role_ready& role) {
      if (is_leader(role))
        return;
      others.push_back(role.who.role);
      open_step_.returns_wanted += role.needs_returns;
    });
  open_step_.round = supervision::training_round(what.step, what.part, leader_role_, std::move(others));
  self_.ask(
      leader()->trainer, what, work_deadline(),
      [this, what](const batch_report& report) { leader_answered(what, report); },
      [this](const refusal& why) {
        after_news_of_deaths([this, line = why.line] { router_->training_failed(line); });
      });
  if (!what.groups.empty())
    each_trainer([&](const role_ready& role) {
      if (!is_leader(role) && !role.needs_returns)
        train_follower(role, what);
    });
}

/// If only the leader can make a trainer's targets (V-trace), that trainer trains after the leader. The others train at
/// the same time.
void coordinator_state::leader_answered(const train_batch& what, const batch_report& report) {
  if (open_step_.returns_wanted > 0 && !report.interrupted) {
    auto with_targets = what;
    with_targets.returns = report.returns;
    each_trainer([&](const role_ready& role) {
      if (!is_leader(role) && role.needs_returns)
        train_follower(role, with_targets);
    });
  }
  step_answered(open_step_.round.leader_answered(report));
}

void coordinator_state::train_follower(const role_ready& trainer, const train_batch& what) {
  self_.ask(
      trainer.trainer, what, work_deadline(),
      [this, who = trainer.who.role, returns = what.returns](const batch_report& report) {
        if (returns.id != 0 && --open_step_.returns_wanted == 0)
          release({returns});
        step_answered(open_step_.round.other_answered(who, report));
      },
      [this, who = trainer.who.role](const refusal& why) {
        // If no round is under way, the leader was interrupted and nobody needs this answer.
        if (open_step_.round.under_way())
          after_news_of_deaths([this, line = who + ": " + why.line] { router_->training_failed(line); });
      });
}

/// The step ends when every other trainer has `end_step` in its queue. Columns that are asked of it later are computed
/// after the step.
void coordinator_state::step_answered(std::optional<supervision::training_round::outcome> end) {
  progressed();
  if (!end)
    return;
  const auto missing = std::make_shared<std::size_t>(1);
  const auto one_less = [this, missing, report = end->report] {
    if (--*missing == 0)
      router_->trained(report, now());
  };
  each_trainer([&](const role_ready& role) {
    if (std::find(end->others.begin(), end->others.end(), role.who.role) == end->others.end())
      return;
    ++*missing;
    if (!end->apply)
      tell(role.trainer, millrace::interrupt_training{end->report.step});
    self_.ask(
        role.trainer, end_step{.step = end->report.step, .apply = end->apply, .part = end->report.part},
        request_deadline(), [one_less](const step_ended&) { one_less(); },
        [this, who = role.who.role](const refusal& why) {
          after_news_of_deaths([this, line = who + ": " + why.line] { router_->training_failed(line); });
        });
  });
  one_less();
}

void coordinator_state::interrupt_training(std::uint64_t step) {
  if (const auto* first = leader())
    tell(first->trainer, millrace::interrupt_training{step});
}

void coordinator_state::batch_done(const batch_report& report, const std::vector<std::uint64_t>& groups) {
  has_trained_ = true;
  for (const auto group : groups) {
    forget_in_ranks(group);
    const auto* row = router_->row_of(group);
    step_.add_group(router_->summary_of(group), row ? row->source : std::string());
  }
  step_.add_masked(report.masked_tokens);
  try {
    config_.record->trained(static_cast<std::int64_t>(report.step), report.part, groups, report.shown);
    if (!report.step_record.empty()) {
      auto record = train::step_record_from(report.step_record);
      for (auto& group : record.groups) {
        group.by = router_->answered_by(group.group);
        if (const auto* row = router_->row_of(group.group); row && row->measured)
          group.drawn = {row->drawn.source, row->drawn.row};
      }
      bool followed = false;
      each_follower([&](const role_ready&) { followed = true; });
      record.critic_cut = report.critic_cut;
      record.followed = followed && newest_ && newest_->version == record.version;
      config_.record->remember(std::move(record));
    }
  } catch (const std::exception& error) {
    fail(error.what());
  }
  const auto step = "step " + std::to_string(report.step)
                    + (report.part > 0 || !report.ends_step ? ", part " + std::to_string(report.part + 1) : "");
  if (report.skipped)
    complain(step + " was skipped: " + report.complaint);
  else if (!report.complaint.empty())
    complain(step + ": " + report.complaint);
  if (report.ends_step)
    step_done(report);
}

void coordinator_state::step_done(const batch_report& report) {
  ranks_have_worked();
  // Before the checkpoint of the step and the prompts of the next one are asked for.
  if (auto results = prompt_results_.take(); !results.prompts.empty())
    tell(source_, std::move(results));
  const auto& scheduler = router_->scheduler();
  auto figures = report.metrics;
  for (const auto& [name, value] : std::exchange(step_, {}).figures())
    figures[name] = value;
  // The scheduler hears of the batch after this: its books do not hold it yet.
  figures[std::string(telemetry::metric::tokens)] =
      static_cast<double>(scheduler.books().trained().tokens + report.trained_tokens);
  figures["groups/zero_variance"] =
      static_cast<double>(scheduler.books().dropped(schedule::drop_reason::zero_variance).groups);
  figures["groups/dropped"] = static_cast<double>(router_->dropped_groups());
  for (const auto& [name, value] : unscored_.take_figures())
    figures[name] = value;
  skipped_in_a_row_ = report.skipped ? skipped_in_a_row_ + 1 : 0;
  figures["steps/skipped"] = report.skipped ? 1 : 0;
  if (const auto most = config_.pipeline->run.max_skipped_steps; skipped_in_a_row_ >= most)
    fail(std::to_string(most)
         + " steps in a row were skipped (run.max_skipped_steps), the last one: " + report.complaint);
  try {
    config_.record->step_done(static_cast<std::int64_t>(report.step), std::move(figures), scheduler);
    if (static_cast<std::int64_t>(report.step) < config_.pipeline->run.steps) {
      want_checkpoint_in_time();
      stop_if_told();
    }
  } catch (const std::exception& error) {
    fail(error.what());
  }
  if (const auto open = scheduler.books().check(); !open.empty())
    fail("the ledger does not close at step " + std::to_string(report.step) + ": " + open);
}

/// By `run.checkpoint_every_s`. The scheduler hears of the step's end after this, and writes the checkpoint then.
void coordinator_state::want_checkpoint_in_time() {
  const double every_s = config_.pipeline->run.checkpoint_every_s;
  if (every_s > 0 && now() - checkpoint_asked_s_ >= every_s)
    router_->want_checkpoint(now());
}

/// By `run.stop_when`.
void coordinator_state::stop_if_told() {
  const auto& why = config_.record->stop_reason();
  if (why.empty() || router_->stopping() || router_->scheduler().finished())
    return;
  telemetry::log_info("run", "stopping early: " + why);
  router_->stop(now(), group_router::haste::none);
}

// -- versions --------------------------------------------------------------------------------------------------------

void coordinator_state::publish(std::uint32_t version) {
  const auto* first = leader();
  if (!first)
    return; // asked again when it is up
  self_.ask(
      first->publisher, publish_weights{version}, work_deadline(),
      [this](const weights_published& result) { take_weights_after(result); },
      [this, version](const refusal& why) {
        after_news_of_deaths([this, version, line = why.line] { router_->publishing_failed(version, line); });
      });
}

/// The version counts as published when every role that follows the leader has it in its queue.
void coordinator_state::take_weights_after(const weights_published& what) {
  newest_ = what;
  const auto missing = std::make_shared<std::size_t>(1);
  const auto one_less = [this, what, missing] {
    if (--*missing > 0)
      return;
    router_->published(what);
    progressed();
  };
  each_follower([&](const role_ready& role) {
    ++*missing;
    self_.ask(
        role.weights_taker, new_weights{.version = what.version, .parameters = what.parameters}, work_deadline(),
        [one_less](const weights_live&) { one_less(); },
        [this, who = role.who](const refusal& why) {
          after_news_of_deaths([this, line = who.name() + ": " + why.line] { fail(line); });
        });
  });
  one_less();
}

void coordinator_state::send_weights(const role_instance& generator, const new_weights& what) {
  const auto* role = find(generator);
  if (!role)
    return;
  // Where weights do not flip in flight, the answer waits for the groups under way.
  const auto within = request_deadline() + stall_deadline();
  weights_sent_[generator.name()] = what.version;
  const auto answered = [this, who = generator.name()](std::uint32_t version) {
    if (const auto sent = weights_sent_.find(who); sent != weights_sent_.end() && sent->second <= version)
      weights_sent_.erase(sent);
  };
  self_.ask(
      role->weights_taker, what, within,
      [this, answered, generator](const weights_live& live) {
        answered(live.version);
        router_->weights_are_live(generator, live.version, now());
        progressed();
      },
      [this, answered, generator, version = what.version](const refusal& why) {
        answered(version);
        after_news_of_deaths(
            [this, generator, version, line = why.line] { router_->weights_failed(generator, version, line); });
      });
}

void coordinator_state::hold_weights(const millrace::hold_weights& what) {
  if (const auto* first = leader())
    tell(first->publisher, what);
}

void coordinator_state::let_go(const weights_taken& what) {
  if (const auto* first = leader())
    tell(first->publisher, what);
}

// -- evaluations -----------------------------------------------------------------------------------------------------

void coordinator_state::evaluate(const role_instance& evaluator, const new_weights& what) {
  const auto* role = find(evaluator);
  if (!role)
    return; // its end is already on its way
  self_.ask(
      role->weights_taker, what, request_deadline(),
      [this, evaluator](const weights_live& live) { ask_evaluator(evaluator, live.version); },
      [this, evaluator, version = what.version](const refusal& why) {
        evaluation_is_lost(evaluator, version, why.line);
      });
}

void coordinator_state::ask_evaluator(const role_instance& evaluator, std::uint32_t version) {
  const auto* role = find(evaluator);
  if (!role)
    return;
  const double seconds = pipeline::abilities_of(config_.pipeline->at(evaluator.role)).deadline_s;
  self_.ask(
      role->evaluator, evaluate_version{version}, milliseconds_of(seconds),
      [this, evaluator](const version_evaluated& result) { version_is_evaluated(evaluator, result); },
      [this, evaluator, version](const refusal& why) { evaluation_is_lost(evaluator, version, why.line); });
}

void coordinator_state::evaluation_is_lost(const role_instance& evaluator, std::uint32_t version,
                                           const std::string& why) {
  if (router_->evaluation_lost(evaluator, version))
    complain("evaluation of version " + std::to_string(version) + " by " + evaluator.name() + " is lost: " + why);
}

void coordinator_state::evaluation_goes_on(const evaluation_progress& progress) {
  progressed();
  if (progress.done > 0)
    restarts_.worked(progress.who.name());
  if (router_->ending())
    config_.record->show_doing(progress.who.role + " " + std::to_string(progress.done) + "/"
                               + std::to_string(progress.rows));
}

void coordinator_state::version_is_evaluated(const role_instance& who, const version_evaluated& result) {
  restarts_.worked(who.name());
  try {
    config_.record->evaluated(who.role, result);
  } catch (const std::exception& error) {
    fail(error.what());
    return;
  }
  stop_if_told();
  router_->evaluated(who, result.version);
  progressed();
}

} // namespace millrace::actors
