#include "actors/coordinator/coordinator_state.hpp"
#include "runtime/columns/column_set.hpp"
#include "runtime/pipeline/abilities.hpp"
#include "runtime/telemetry/log.hpp"

#include <algorithm>
#include <cmath>

/// What the coordinator does to the world for `group_router`: groups on their way.
namespace millrace::actors {
namespace {

/// How many prompts in a row may be refused. Then the run ends: if every prompt of the data is too long, it would never
/// end otherwise.
constexpr std::uint64_t most_refusals_in_a_row = 1000;

/// The same of groups that are lost before they are generated: their environment may fail with every one.
constexpr std::uint64_t most_losses_in_a_row = 1000;

/// Of a group's answers. Nothing has to be pulled for that.
std::int64_t tokens_of(const fetch_group& group) {
  std::int64_t tokens = 0;
  for (const auto& bundle : group.columns)
    for (const auto& column : bundle.layout)
      if (column.name == column::tokens.name && !column.shape.empty())
        tokens += column.shape.front();
  return tokens;
}

} // namespace

void coordinator_state::group_is_generated(const group_generated& generated) {
  lost_in_a_row_ = 0;
  restarts_.worked(generated.from.name());
  config_.record->prompt_is_computed(generated.prompt_tokens_found, generated.prompt_tokens_computed);
  config_.record->tools_are_called(generated.tool_calls, generated.malformed_calls);
  config_.record->histories_are_rewritten(generated.rewritten_histories);
  config_.record->clients_are_served(generated.client_tokens);
  router_->generated(generated, now()); // progress once somebody can use it
}

void coordinator_state::group_is_interrupted(const group_interrupted& interrupted) {
  router_->interrupted(interrupted, now());
  progressed();
}

void coordinator_state::generation_is_lost(const generation_lost& lost) {
  complain(lost.from.name() + ": group " + std::to_string(lost.group) + " begins anew: " + lost.why);
  count_loss(lost.from, lost.why);
  router_->generation_lost(lost, now());
}

void coordinator_state::count_loss(const role_instance& generator, const std::string& why) {
  if (++lost_in_a_row_ == most_losses_in_a_row)
    fail(std::to_string(lost_in_a_row_)
         + " groups in a row were lost before they were generated, the last one: " + generator.name() + ": " + why);
}

episode_place coordinator_state::place_of(const role_ready& environment) const {
  const auto own = pipeline::abilities_of(config_.pipeline->at(environment.who.role)).deadline_s;
  return {.environment = environment.environment,
          .deadline_s = std::max(own, config_.pipeline->run.request_deadline_s)};
}

void coordinator_state::end_episodes(const role_instance& environment, const millrace::end_episodes& what) {
  if (const auto* role = find(environment))
    tell(role->environment, what);
}

void coordinator_state::take_prompt(std::uint64_t index) {
  self_.ask(
      source_, millrace::take_prompt{index}, request_deadline(),
      [this](const prompt_row& row) {
        if (row.skipped_rows > 0)
          config_.record->skipped("unusable row", static_cast<std::int64_t>(row.skipped_rows));
        router_->prompt_arrived(row, now());
      },
      [this](const refusal& why) { fail("source: " + why.line); });
}

void coordinator_state::generate(const role_instance& generator, const generate_group& what) {
  const auto* role = find(generator);
  if (!role)
    return; // the role is gone, and the scheduler will hear of it
  const group_attempt which{what.group, what.attempt};
  self_.ask(
      role->generator, what, request_deadline(),
      [this, generator, which, environment = what.played.environment](const group_accepted& answer) {
        generation_answered(generator, which, environment, answer);
      },
      [this, generator, which](const refusal& why) { generation_refused(generator, which, why); });
}

void coordinator_state::generation_answered(const role_instance& generator, const group_attempt& what,
                                            const handle<plays_episodes>& environment, const group_accepted& answer) {
  refused_in_a_row_ = 0;
  if (answer.lost.empty()) {
    if (environment)
      for (const auto& [name, role] : roles_)
        if (role.environment == environment)
          restarts_.worked(name); // it has begun the episodes
    router_->generation_accepted(what.group, what.attempt);
  } else {
    count_loss(generator, answer.lost);
    router_->generation_refused(
        what, {.why = generator.name() + ": the begun answers are lost: " + answer.lost, .retryable = true}, now());
  }
}

void coordinator_state::generation_refused(const role_instance& generator, const group_attempt& what,
                                           const refusal& why) {
  if (why.by_the_asked) {
    config_.record->skipped("prompt refused", 1);
    if (++refused_in_a_row_ == most_refusals_in_a_row)
      fail(std::to_string(refused_in_a_row_) + " prompts in a row were refused, the last one: " + why.line);
  }
  router_->generation_refused(what, {.why = generator.name() + ": " + why.line, .retryable = !why.by_the_asked}, now());
}

void coordinator_state::cancel(const role_instance& generator, const cancel_group& what) {
  if (const auto* role = find(generator))
    tell(role->generator, what);
}

void coordinator_state::interrupt(const role_instance& generator, const interrupt_group& what) {
  if (const auto* role = find(generator))
    tell(role->generator, what);
}

void coordinator_state::process(const role_instance& adder, const process_group& what) {
  const auto* role = find(adder);
  if (!role)
    return;
  // A role that also trains answers after the step at hand, so the request may take as long as a step.
  self_.ask(
      role->column_adder, what, role->trainer ? work_deadline() : request_deadline(),
      [this, adder](const group_columns& answer) { processed(adder, answer); },
      [this, adder, which = group_attempt{what.group, what.attempt}](const refusal& why) {
        router_->processing_failed(adder, which, why.line, now());
      });
}

/// Ends the run where too many have none.
void coordinator_state::count_scores(const std::string& role, const group_columns& answer) {
  if (const auto line = unscored_.add(role, answer); !line.empty())
    complain(line);
  if (const auto line = unscored_.too_many(); !line.empty())
    fail(line);
}

void coordinator_state::processed(const role_instance& adder, const group_columns& answer) {
  if (answer.complaint.empty()) {
    restarts_.worked(adder.name());
    prompt_results_.scored(answer.group, answer.summary);
    progressed();
  }
  router_->processed(adder, answer, now());
  count_scores(adder.role, answer);
}

/// Every role that trains pulls the columns; where the leader's ranks share out groups, the one of them that has least.
/// This process does too, for a group that the trajectory file samples.
void coordinator_state::fetch(const fetch_group& what) {
  const bool sampled = telemetry::is_sampled(what.group, config_.pipeline->run.trajectories_fraction);
  auto& open = fetches_[{what.group, what.attempt}];
  open = {.missing = std::size_t{sampled}, .error = "", .flat = false, .complaint = ""};
  each_trainer([&](const role_ready&) { ++open.missing; });
  each_trainer([&](const role_ready& role) {
    const auto rank = ranks_share_groups_ && is_leader(role) ? least_laden_rank() : 0;
    const auto* keeper = rank > 0 ? rank_of_leader(rank) : nullptr;
    if (ranks_share_groups_ && is_leader(role)) {
      if (what.attempt > 1) { // a rank may keep the group as it was
        tell(role.trainer, forget_group{what.group});
        forget_in_ranks(what.group);
      }
      kept_[what.group] = {what, keeper ? rank : 0, tokens_of(what)};
    }
    ask_to_fetch(keeper ? *keeper : role, what);
  });
  if (sampled)
    keep_trajectory(what);
}

void coordinator_state::ask_to_fetch(const role_ready& role, const fetch_group& what) {
  const group_attempt which{what.group, what.attempt};
  if (role.trainer) {
    self_.ask(
        role.trainer, what, request_deadline(),
        [this, which, leads = is_leader(role)](const group_fetched& fetched) {
          fetched_by_trainer(which, fetched, leads);
        },
        [this, which](const refusal& why) { fetched_by_one(which, why.line); });
    return;
  }
  // A rank that was lost: the first one has been asked since.
  const auto another_is_asked = [this, which, rank = role.who.index] {
    const auto kept = kept_.find(which.group);
    return kept != kept_.end() && kept->second.what.attempt == which.attempt && kept->second.rank != rank;
  };
  self_.ask(
      role.keeper, what, request_deadline(),
      [this, which, another_is_asked](const group_fetched& fetched) {
        if (!another_is_asked())
          fetched_by_trainer(which, fetched, true);
      },
      [this, which, another_is_asked](const refusal& why) {
        if (!another_is_asked())
          fetched_by_one(which, why.line);
      });
}

void coordinator_state::fetched_by_trainer(const group_attempt& what, const group_fetched& fetched, bool leads) {
  if (const auto found = fetches_.find(what); found != fetches_.end()) {
    found->second.flat = leads ? fetched.flat : found->second.flat;
    found->second.complaint = fetched.complaint.empty() ? found->second.complaint : fetched.complaint;
  }
  fetched_by_one(what, "");
}

void coordinator_state::keep_trajectory(const fetch_group& what) {
  columns::pull_columns(*config_.data, what.columns, trajectory_columns(what.columns), request_deadline(),
                        [this, me = self_.weak(), what = group_attempt{what.group, what.attempt}](
                            columns::column_set columns, std::string error) {
                          continue_in(me,
                                      [this, what, columns = std::move(columns), line = std::move(error)]() mutable {
                                        try {
                                          if (router_->row_of(what.group) && line.empty())
                                            config_.record->keep(trajectory_of(what.group, columns));
                                        } catch (const std::exception& malformed) {
                                          line = malformed.what();
                                        }
                                        fetched_by_one(what, line);
                                      });
                        });
}

void coordinator_state::fetched_by_one(const group_attempt& what, const std::string& error) {
  const auto found = fetches_.find(what);
  if (found == fetches_.end())
    return;
  if (!error.empty() && found->second.error.empty())
    found->second.error = error;
  if (--found->second.missing > 0)
    return;
  const auto all = fetches_.extract(found).mapped();
  if (all.error.empty()) {
    router_->fetched({.group = what.group, .attempt = what.attempt, .flat = all.flat, .complaint = all.complaint},
                     now());
    count_scores(
        leader_role_,
        {.group = what.group, .attempt = what.attempt, .columns = {}, .summary = {}, .complaint = all.complaint});
  } else
    router_->fetch_failed(what, all.error, now());
  progressed();
}

void coordinator_state::forget(std::uint64_t group) {
  config_.record->forget(group);
  each_trainer([&](const role_ready& role) { tell(role.trainer, forget_group{group}); });
  forget_in_ranks(group);
}

/// The groups of a batch go together. So their bundles are named in one message an owner, once the event is over.
void coordinator_state::release(const std::vector<ticket>& columns) {
  const bool waits = !to_release_.empty();
  for (const auto& ticket : columns)
    if (ticket.id != 0)
      to_release_[ticket.owner].ids.push_back(ticket.id);
  if (!waits && !to_release_.empty())
    continue_in(self_.weak(), [this] { tell_releases(); });
}

void coordinator_state::tell_releases() {
  for (auto& [owner, bundles] : std::exchange(to_release_, {}))
    if (const auto process = processes_.find(owner); process != processes_.end())
      tell(process->second.agent, std::move(bundles));
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
  const auto held = [](const schedule::progress& p) {
    return static_cast<double>(p.queued + p.generating + p.finished + p.ready + p.training);
  };
  draw("credits", "held", held(observed_), held(depths));
  if (std::isfinite(router_->scheduler().settings().gate.depth))
    draw("credits", "free", observed_.free_credits, depths.free_credits);
  draw("lead", "steps", observed_.lead_steps, depths.lead_steps);
  observed_ = depths;
}

void coordinator_state::complain(const std::string& line) {
  telemetry::log_warning("run", line);
}

} // namespace millrace::actors
