#include "actors/coordinator/group_router.hpp"

/// Steps, versions and evaluations of `group_router`.
namespace millrace::actors {
namespace {

/// How often in a row a role may refuse weights. Then the run ends: another attempt would most likely fail too.
constexpr int allowed_weight_refusals = 3;

} // namespace

// -- training and weights --------------------------------------------------------------------------------------------

void group_router::train(train_batch batch) {
  training_ = std::move(batch);
  effects_.train(*training_);
}

/// The groups of the step's other parts are lost and no prompts are left, so the scheduler ended the step early. The
/// learner must know that before it writes its checkpoint.
void group_router::end_step_without_groups() {
  if (open_step_ && scheduler_.at().step == open_step_->step)
    train(*std::exchange(open_step_, std::nullopt));
}

void group_router::trained(const batch_report& report, double now) {
  if (!training_ || training_->step != report.step || training_->part != report.part)
    return;
  const auto batch = *std::exchange(training_, std::nullopt);
  const auto step = static_cast<std::uint32_t>(report.step - 1);
  if (report.interrupted) {
    act(schedule::training_lost{step, report.part}, now);
    return;
  }
  effects_.batch_done(report, batch.groups);
  for (const auto group : batch.groups)
    forget_group_record(group);
  open_step_.reset();
  if (batch.ends_step) {
    sum_up_drops();
    // The request goes out before the scheduler asks for the next step. The policy works in order (PO-1), so it still
    // holds these weights.
    if (const auto version = static_cast<std::uint32_t>(report.step); evaluations_.reached(version, false))
      publish_for_evaluation(version);
    advance_evaluations();
  } else {
    open_step_ = train_batch{.step = report.step, .version = batch.version, .groups = {}, .part = report.part + 1};
  }
  if (!batch.groups.empty())
    act(schedule::batch_trained{step, report.trained_tokens, report.masked_tokens, report.part}, now);
}

// -- evaluations -----------------------------------------------------------------------------------------------------

/// The scheduler may ask for the same version later, or never.
void group_router::publish_for_evaluation(std::uint32_t version) {
  publishing_for_evaluation_ = version;
  if (!leader_node_)
    return;
  keep_for_rollouts(version);
  effects_.hold_weights({.version = version, .hold = true});
  effects_.publish(version);
}

/// A rollout that is late, or starts again, is sent the version of the others. A version that rollouts do not get
/// pushes that one out, unless it is held.
void group_router::keep_for_rollouts(std::uint32_t besides) {
  const auto theirs = publishing_ ? publishing_ : published_version_;
  const bool comes_to_them = besides % scheduler_.settings().clock.publish_every == 0;
  if (!graph_.publishes || finishing_ || kept_for_rollouts_ || !theirs || theirs == besides || comes_to_them)
    return;
  kept_for_rollouts_ = theirs;
  effects_.hold_weights({.version = *theirs, .hold = true});
}

void group_router::let_go_of_rollouts_version() {
  if (const auto version = std::exchange(kept_for_rollouts_, std::nullopt); version && !evaluations_.holds(*version))
    effects_.hold_weights({.version = *version, .hold = false});
}

void group_router::advance_evaluations() {
  for (const auto& start : evaluations_.take_starts())
    effects_.evaluate(start.who, {.version = start.version, .parameters = start.parameters, .in_flight = true});
  for (const auto version : evaluations_.take_released())
    if (version != kept_for_rollouts_)
      effects_.hold_weights({.version = version, .hold = false});
  if (finishing_ && evaluations_.idle() && !std::exchange(finished_, true))
    effects_.finish(*finishing_);
}

void group_router::evaluated(const role_instance& who, version_id version) {
  evaluations_.done(who, version, supervision::evaluation_plan::result::figures);
  advance_evaluations();
}

bool group_router::evaluation_lost(const role_instance& who, version_id version) {
  const bool known = evaluations_.done(who, version, supervision::evaluation_plan::result::nothing);
  advance_evaluations();
  return known;
}

void group_router::training_failed(const std::string& why) {
  effects_.fail("training failed: " + why);
}

void group_router::published(const weights_published& what) {
  if (publishing_for_evaluation_ == what.version)
    publishing_for_evaluation_.reset();
  evaluations_.published(what.version, what.parameters);
  advance_evaluations();
  if (publishing_ != what.version)
    return;
  publishing_.reset();
  published_version_ = what.version;
  published_ = what.parameters;
  for (const auto worker : std::exchange(weights_wanted_, {}))
    send_weights(worker, what.version, published_);
}

void group_router::tell_version() {
  if (!leader_node_ || !published_version_)
    return;
  for (const auto worker : std::exchange(weights_wanted_, {}))
    send_weights(worker, *published_version_, {});
}

void group_router::send_weights(schedule::worker_id worker, version_id version, const weight_shares& parameters) {
  if (auto* generator = generator_of(worker))
    effects_.send_weights(generator->who,
                          {.version = version, .parameters = parameters, .in_flight = graph_.flips_in_flight});
}

void group_router::publishing_failed(std::uint32_t version, const std::string& why) {
  if (publishing_for_evaluation_ == version)
    publishing_for_evaluation_.reset();
  evaluations_.unpublished(version);
  advance_evaluations();
  if (publishing_ != version)
    return;
  publishing_.reset();
  weights_wanted_.clear();
  const auto line = "version " + std::to_string(version) + " was not published: " + why;
  if (version == scheduler_.at().step)
    effects_.fail(line);
  else
    effects_.complain(line);
}

void group_router::weights_are_live(const role_instance& who, std::uint32_t version, double now) {
  const auto found = generators_.find(who.name());
  weight_refusals_.erase(who.name());
  if (found == generators_.end() || found->second.who != who)
    return;
  found->second.samples_from = version;
  act(schedule::version_acknowledged{found->second.worker, version}, now);
  let_go_of_taken();
}

void group_router::let_go_of_taken() {
  const auto has_it = [&](const auto& entry) { return entry.second.samples_from == published_version_; };
  const bool comes_again = scheduler_.settings().clock.publish_every == 1; // else the policy may be versions ahead
  if (!graph_.publishes || !comes_again || !published_version_ || publishing_ || generators_.size() < graph_.instances
      || !std::ranges::all_of(generators_, has_it))
    return;
  effects_.let_go({*published_version_});
  published_version_.reset();
  published_ = {};
}

void group_router::weights_failed(const role_instance& who, std::uint32_t version, const std::string& why) {
  const auto found = generators_.find(who.name());
  if (found == generators_.end() || found->second.who != who || published_version_ != version || publishing_)
    return; // a newer version is on its way, or the generator is gone
  if (++weight_refusals_[who.name()] == allowed_weight_refusals) {
    effects_.fail(who.name() + " could not take version " + std::to_string(version)
                  + " three times, the last one: " + why);
    return;
  }
  effects_.complain(who.name() + " could not take version " + std::to_string(version) + ": " + why
                    + "; sending it again");
  effects_.send_weights(who, {.version = version, .parameters = published_, .in_flight = graph_.flips_in_flight});
}

void group_router::checkpointed(std::uint32_t step, double now) {
  act(schedule::checkpointed{step}, now);
}

} // namespace millrace::actors
