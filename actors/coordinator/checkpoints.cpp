#include "actors/coordinator/coordinator_state.hpp"
#include "runtime/supervision/saved_position.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/telemetry/progress.hpp"
#include "runtime/telemetry/trace.hpp"
#include "runtime/words/milliseconds.hpp"

#include <unistd.h>

#include <algorithm>
#include <set>

/// What the coordinator does to the world for `group_router`: checkpoints, and the end of the run.
namespace millrace::actors {
namespace {

constexpr double between_tries_s = 5;

} // namespace

/// Asks every role with state before it returns. The roles work in order (PO-1), so they write the weights of this step
/// and not of a later one.
void coordinator_state::checkpoint(std::uint32_t step, const std::string& scheduler_state) {
  checkpoint_asked_s_ = now();
  asked_checkpoint_ = step;
  const auto open = std::make_shared<open_checkpoint>();
  open->step = step;
  open->state.scheduler = scheduler_state;
  open->state.within_step = router_->scheduler().at().part > 0 ? step_.saved() : std::string();
  open->oldest = router_->scheduler().oldest_live();
  try {
    open->attempt = std::make_shared<run_files::checkpoint_attempt>(config_.checkpoints->begin(step));
  } catch (const std::exception& error) {
    tell(handle<decides>(self_.me()), checkpoint_stored{.step = step, .folder = "", .failure = error.what()});
    return;
  }
  each_state_keeper([&](const role_ready&) { ++open->missing; });
  each_state_keeper([&](const role_ready& role) {
    self_.ask(
        role.state_keeper, write_checkpoint{std::filesystem::absolute(open->attempt->folder()).string()},
        work_deadline(),
        [this, open](const checkpoint_written&) {
          if (--open->missing == 0)
            add_position(open);
        },
        [this, open](const refusal& why) {
          if (std::exchange(open->missing, 0) > 0)
            checkpoint_is_stored({.step = open->step, .folder = "", .failure = why.line});
        });
  });
}

/// A role, or a rank, on another host must see the folder that its part of each checkpoint goes into. That is found at
/// the start, not when the first checkpoint is due.
void coordinator_state::find_checkpoints(const role_ready& writer, const std::string& host) {
  const auto folder = std::filesystem::absolute(config_.checkpoints->folder());
  const auto file = folder / (".partial-seen-by-" + writer.who.role + "-" + std::to_string(writer.who.index));
  const auto content = writer.who.name() + " " + std::to_string(telemetry::now_s());
  try {
    run_files::replace_file(file, content, run_files::survives::power_cut);
  } catch (const run_files::storage_error& error) {
    fail(error.what());
    return;
  }
  const auto forget = [file] {
    std::error_code ignored;
    std::filesystem::remove(file, ignored);
  };
  const auto ask = [&](const auto& whom) {
    self_.ask(
        whom, find_file{.path = file.string(), .content = content}, request_deadline(),
        [this, writer, forget](const file_found&) {
          forget();
          bring_up_to_date(writer);
        },
        [this, writer, host, folder, forget](const refusal& why) {
          forget();
          after_news_of_deaths([this, writer, host, folder, line = why.line] {
            if (processes_.contains(writer.node)) // else it is started again
              fail(writer.who.name() + " on " + host + " does not see the run's checkpoints in " + folder.string()
                   + " (" + line + "): want --output on a file system that both hosts share");
          });
        });
  };
  if (writer.state_keeper)
    ask(writer.state_keeper);
  else
    ask(writer.rank);
}

void coordinator_state::add_position(const std::shared_ptr<open_checkpoint>& open) {
  self_.ask(
      source_, find_position{open->oldest}, request_deadline(),
      [this, open](const source_position& position) { store(*open, position); },
      [this, open](const refusal& why) {
        checkpoint_is_stored({.step = open->step, .folder = "", .failure = "source: " + why.line});
      });
}

void coordinator_state::store(const open_checkpoint& open, const source_position& position) {
  storage_->post([me = handle<decides>(self_.me()), open, position] {
    try {
      const telemetry::timed span(telemetry::process_trace(), "coordinator", "checkpoint", telemetry::cause::storage);
      open.attempt->write("scheduler.txt", open.state.scheduler);
      if (!open.state.within_step.empty())
        open.attempt->write("step.json", open.state.within_step);
      open.attempt->write("source.txt", supervision::saved_text(position));
      const auto folder = open.attempt->commit();
      tell(me, checkpoint_stored{.step = open.step, .folder = folder.string(), .failure = ""});
    } catch (const std::exception& error) {
      tell(me, checkpoint_stored{.step = open.step, .folder = "", .failure = error.what()});
    }
  });
}

void coordinator_state::checkpoint_is_stored(const checkpoint_stored& stored) {
  if (ended_)
    return;
  if (stored.failure.empty()) {
    // One that was begun before may come after: it does not make up for a newer one.
    if (refused_checkpoint_ && *refused_checkpoint_ <= stored.step) {
      refused_checkpoint_.reset();
      telemetry::log_info("run", "checkpoints are written again");
    }
    telemetry::log_info("run", "checkpoint of step " + std::to_string(stored.step) + " in " + stored.folder);
    try {
      config_.record->checkpointed(stored.step, stored.folder);
    } catch (const std::exception& error) {
      complain(error.what()); // the checkpoint itself is there
    }
    router_->checkpointed(stored.step, now());
    progressed();
    return;
  }
  const auto line = run_files::checkpoint_failure(config_.checkpoints->folder(), stored.step, stored.failure);
  const auto waits = router_->scheduler().waits(now());
  const bool last =
      stored.step == router_->scheduler().at().step
      && std::any_of(waits.begin(), waits.end(), [](const auto& wait) { return wait.kind == wait_kind::saving; });
  if (!refused_checkpoint_)
    complain(line
             + (last ? "; the run waits and tries it again every " + telemetry::in_time(between_tries_s)
                           + ", a second Ctrl-C ends it without"
                     : "; the run goes on, and tries it again"));
  refused_checkpoint_ = std::max(stored.step, refused_checkpoint_.value_or(stored.step));
  self_.after(milliseconds_of(between_tries_s), [this, last, step = stored.step] {
    if (ended_ || !refused_checkpoint_ || asked_checkpoint_ != step)
      return; // a newer one was asked for meanwhile, and it is tried again if need be
    if (!last)
      router_->want_checkpoint(now()); // the weights of that step are gone
    else
      checkpoint(step, router_->scheduler().save()); // nothing is trained while the run waits
  });
}

// -- the end ---------------------------------------------------------------------------------------------------------

void coordinator_state::stop(const stop_run& why) {
  if (ended_)
    return;
  telemetry::log_info("run", "stopping: " + why.why);
  stop_asked_ = true;
  if (models_are_loaded())
    router_->stop(now(), group_router::haste::some);
  else
    finish({schedule::finish_reason::stopped, {}}); // nothing is trained yet that a checkpoint could hold
}

void coordinator_state::finish(const schedule::finish& how) {
  if (how.reason == schedule::finish_reason::losses)
    return fail(how.why);
  if (how.reason == schedule::finish_reason::prompts_exhausted && router_->scheduler().at().step == 0)
    return fail("no step could be trained: the data ended, and none of its groups could be used"
                + (router_->last_drop().empty() ? std::string() : "; the last one: " + router_->last_drop()));
  if (how.reason == schedule::finish_reason::prompts_exhausted)
    telemetry::log_info("run", "the data has ended, after " + std::to_string(router_->scheduler().at().step) + " of "
                                   + std::to_string(config_.pipeline->run.steps) + " steps");
  // `run.stop_when` is a run's own end.
  const bool stopped = how.reason == schedule::finish_reason::stopped && stop_asked_;
  end({.ok = true, .line = stopped ? "stopped" : "finished", .stopped = stopped});
}

void coordinator_state::fail(const std::string& why) {
  if (!ended_)
    end({.ok = false, .line = why});
}

/// A process is gone, and with it what only the last checkpoint has.
void coordinator_state::lose(const role_instance& who, const std::string& how, const std::string& what) {
  if (ended_)
    return;
  const auto at = router_->scheduler().at();
  const auto line = who.name() + " is gone (" + how + ")";
  if (router_->scheduler().settings().faults.learner == schedule::lost_learner::end)
    return fail(line + ", and nobody else has " + what + "; `millrace resume` goes on from the last checkpoint");
  if (const int deaths = config_.deaths->died({at.step, at.part}); deaths >= supervision::learner_deaths::most)
    return fail(line + ", the last of " + std::to_string(deaths)
                + " such deaths without a further step; `millrace resume` goes on from the last checkpoint");
  end({.ok = false, .line = line, .goes_on = true});
}

/// At a good end the run asks its other processes for a last report. A frozen process delays the end by one second.
void coordinator_state::end(run_outcome outcome) {
  if (std::exchange(ended_, true))
    return;
  outcome.step = router_->scheduler().at().step;
  if (outcome.goes_on || (outcome.at_start && !config_.checkpoint.empty()))
    return take_down(std::move(outcome));
  last_reports_ = 1;
  const auto one_less = [this, outcome] {
    if (--last_reports_ == 0)
      conclude(outcome);
  };
  if (outcome.ok)
    for (const auto& [node, process] : processes_)
      if (node != own_node) {
        ++last_reports_;
        self_.ask(
            process.agent, report_now{}, std::chrono::seconds(1),
            [this, one_less](const process_report& report) {
              take_report(report);
              one_less();
            },
            [one_less](const refusal&) { one_less(); });
      }
  one_less();
}

/// The run may begin again from a checkpoint: no process of this session may work on beside those of the next.
void coordinator_state::take_down(run_outcome outcome) {
  constexpr std::chrono::seconds patience{3};
  taking_down_ = std::move(outcome);
  each_trainer([this](const role_ready& role) {
    tell(role.trainer, millrace::interrupt_training{std::uint64_t{taking_down_->step} + 1});
  });
  std::erase_if(pids_, [this](const auto& started) { return lost_nodes_.contains(lives_.at(started.first).host); });
  for (const auto& [name, pid] : pids_)
    kill(lives_.at(name).host, pid);
  if (pids_.empty())
    return conclude_taken_down();
  self_.after(patience, [this] { conclude_taken_down(); });
}

void coordinator_state::conclude_taken_down() {
  if (taking_down_)
    conclude(*std::exchange(taking_down_, std::nullopt));
}

void coordinator_state::conclude(run_outcome outcome) {
  const std::string word = outcome.ok ? outcome.line : outcome.goes_on ? "starting" : "failed";
  try {
    config_.record->add_trace(telemetry::process_trace().take(), getpid(), "run", 0);
    config_.record->write_status(router_->scheduler(), word, role_states(), used_lanes(), {});
    if (outcome.goes_on)
      config_.record->close();
    else if (!outcome.at_start) // nothing was done that a summary could tell of
      config_.record->finish(router_->scheduler(), word);
  } catch (const std::exception& error) {
    outcome = {.ok = false, .line = error.what()};
  }
  for (const auto& [node, process] : processes_)
    tell(process.agent, end_process{outcome.line});
  kill_who_is_not_up();
  std::set<address> actors{source_};
  for (const auto& [name, role] : roles_)
    actors.insert({role.generator, role.column_adder, role.trainer, role.publisher, role.weights_taker, role.evaluator,
                   role.state_keeper});
  for (const auto& who : actors)
    end_actor(who);
  if (outcome.ok)
    outcome.line.clear();
  config_.on_end(outcome);
  self_.quit();
}

} // namespace millrace::actors
