#include "runtime/schedule/virtual_time.hpp"

#include "runtime/schedule/age_limit.hpp"
#include "runtime/schedule/agenda.hpp"
#include "runtime/schedule/virtual_learner.hpp"
#include "runtime/schedule/virtual_worker.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <stdexcept>

namespace millrace::schedule {

namespace {

/// One run under virtual time.
class virtual_run {
public:
  virtual_run(const config& schedule, const workload& costs, const observer& observe)
      : scheduler_(schedule), costs_(costs), observe_(observe), learner_(costs),
        answers_(answers_started(schedule, costs.answers_per_group)),
        hosts_(costs.workers, virtual_worker(costs, answers_)) {}

  prediction run() {
    if (costs_.prompts > 0)
      feed(prompts_exhausted{costs_.prompts});
    for (worker_id id = 0; id < costs_.workers; ++id)
      join(id, version_id{0});
    while (!scheduler_.finished()) {
      if (agenda_.empty())
        throw std::logic_error("virtual time: nothing is left to happen and the run is not finished");
      const auto next = agenda_.take();
      if (next.what == kind::generated && hosts_[next.subject].planned != next.sequence)
        continue;
      if (next.what == kind::learned && learner_.planned != next.sequence)
        continue;
      account(next.at_s);
      now_s_ = next.at_s;
      happen(next);
    }
    result_.steps = scheduler_.at().step;
    result_.seconds = now_s_;
    result_.stale = scheduler_.stale();
    result_.books = scheduler_.books().sums();
    result_.share_out(costs_.workers);
    return result_;
  }

private:
  using kind = agenda::kind;

  std::uint64_t plan(double at_s, kind what, std::uint64_t subject, std::uint32_t detail) {
    return agenda_.plan(at_s, what, subject, detail);
  }

  /// When something about a worker has changed: its next ending.
  void plan_worker(worker_id id) {
    auto& on = hosts_[id];
    const auto next = on.next_s();
    if (next == on.planned_s && on.planned != 0)
      return;
    on.each_next([this](group_id group) {
      groups_.prefetch(group);
      scheduler_.expect(group);
    });
    on.planned_s = next;
    on.planned = next < std::numeric_limits<double>::infinity() ? plan(next, kind::generated, id, 0) : agenda_.stamp();
  }

  void join(worker_id id, std::optional<version_id> holds) {
    auto& one = hosts_[id];
    const auto life = one.life + 1;
    one = virtual_worker(costs_, answers_, between_turns());
    one.life = life;
    one.alive = true;
    one.slow_down(now_s_, decoding_times(id));
    if (holds)
      one.flip(now_s_, *holds);
    if (costs_.worker_life_s > 0)
      plan(now_s_ + life_s(costs_, id, life), kind::died, id, life);
    feed(worker_joined{id, costs_.groups_per_worker, holds, "rollout/" + std::to_string(id), is_lent(id)});
  }

  void take_weights(worker_id id, version_id version) {
    auto& on = hosts_[id];
    on.take_weights(now_s_, costs_.publish_s, version);
    on.give_slots(true, groups_);
    if (scheduler_.settings().interrupt.kv == kv_on_flip::recompute)
      recompute(on);
    plan_worker(id);
    plan(now_s_ + costs_.publish_s, kind::flipped, std::uint64_t{on.life} << 32 | id, version);
  }

  void recompute(virtual_worker& on) {
    on.compute_prompt(now_s_, costs_.resume_token_s * on.running_tokens(now_s_, groups_));
    on.forget_waiting(groups_);
  }

  void happen(const agenda::entry& next) {
    const auto subject = static_cast<worker_id>(next.subject);
    switch (next.what) {
    case kind::generated:
      return generated(subject);
    case kind::handed_over:
      return handed_over(next.subject, next.detail);
    case kind::overdue:
      return overdue(next.subject, next.detail);
    case kind::columns:
      return feed(group_ready{next.subject, next.detail});
    case kind::lays_out:
      return lays_out(next.subject, next.detail);
    case kind::laid_out:
      return laid_out(subject, next.subject >> 32, next.detail);
    case kind::flipped:
      return flipped(subject, next.subject >> 32, next.detail);
    case kind::late:
      return late(subject, next.subject >> 32, next.detail);
    case kind::learned:
      return learned();
    case kind::saved:
      return feed(checkpointed{static_cast<std::uint32_t>(next.subject)});
    case kind::died:
      return died(subject, next.detail);
    case kind::joins:
      return join(subject, std::nullopt);
    }
  }

  void generated(worker_id id) {
    auto& on = hosts_[id];
    on.planned = 0;
    std::size_t count = 0;
    for (const auto group : on.ended(now_s_, groups_)) {
      if (count == told_.size())
        told_.emplace_back(group_finished{});
      auto& what = std::get<group_finished>(told_[count++]);
      const auto& one = groups_.at(group);
      what.group = group;
      what.attempt = one.attempt;
      what.surplus_tokens = on.count(one, what.tokens, what.answers);
      std::int64_t whole = 0;
      for (const auto length : one.lengths.all())
        whole += length;
      result_.generated_tokens += whole * one.kept / one.lengths.size();
      if (train_tells_groups_apart()) {
        auto& lengths = lengths_[group];
        lengths.clear();
        for (std::uint32_t i = 0; i < one.lengths.size(); ++i)
          if (one.answer(i).kept)
            lengths.push_back(one.length(i));
      }
      ++result_.generated_groups;
      off(group);
    }
    see_waiting(on);
    plan_worker(id);
    for (const auto& [group, attempt] : std::exchange(leaving_, {}))
      handed_over(group, attempt);
    for (std::size_t i = 0; i < count; ++i) {
      const auto& what = std::get<group_finished>(told_[i]);
      plan(now_s_ + columns_s(costs_, what.group), kind::columns, what.group, what.attempt);
      feed(told_[i]);
    }
    drained(id);
  }

  void see_waiting(const virtual_worker& on) {
    if (costs_.turns > 0 && on.waiting_answers() > result_.most_waiting.answers)
      result_.most_waiting = on.waiting(groups_);
  }

  /// The group has left its worker.
  void off(group_id group) {
    const auto& one = groups_.at(group);
    result_.place_busy_s += now_s_ - one.began_s;
    --hosts_[one.host].groups;
    groups_.erase(group);
  }

  void drained(worker_id id) {
    auto& on = hosts_[id];
    if (on.alive && on.wanted && !has_to_drain(on))
      take_weights(id, *std::exchange(on.wanted, std::nullopt));
  }

  bool between_turns() const { return scheduler_.settings().interrupt.granularity == interrupt_granularity::turn; }

  /// Before it takes weights.
  bool has_to_drain(const virtual_worker& on) const {
    return scheduler_.settings().in_flight() ? between_turns() && on.has_slots() : on.groups > 0;
  }

  void handed_over(group_id group, std::uint32_t attempt) {
    auto* one = groups_.find(group);
    if (!one || one->attempt != attempt)
      return;
    const auto id = one->host;
    if (between_turns() && hosts_[id].withhold_slots(group, *one)) {
      leaving_.emplace_back(group, attempt);
      return plan_worker(id);
    }
    auto tokens = hosts_[id].stop(group, *one, now_s_, groups_);
    result_.place_busy_s += now_s_ - one->began_s;
    plan_worker(id);
    handed_.insert_or_assign(group, std::move(*one));
    groups_.erase(group);
    feed(group_interrupted{group, attempt, std::move(tokens)});
    drained(id);
  }

  /// A worker begins to lay a version out; it goes on decoding.
  void lays_out(std::uint64_t worker_and_life, version_id version) {
    const bool crowded = learner_.has_update() && generates_beside_learner();
    ++laying_out_;
    slow_down_hosts();
    follow_load();
    const auto times = (learner_.has_update() ? costs_.layout_beside : 1) * (crowded ? costs_.layout_contention : 1);
    plan(now_s_ + costs_.layout_s * times, kind::laid_out, worker_and_life, version);
  }

  void overdue(group_id group, std::uint32_t attempt) {
    if (const auto* one = groups_.find(group); one && one->attempt == attempt)
      feed(group_overdue{group, attempt});
  }

  void laid_out(worker_id id, std::uint64_t life, version_id version) {
    --laying_out_;
    slow_down_hosts();
    follow_load();
    auto& on = hosts_[id];
    if (!on.alive || on.life != life || (on.taken && *on.taken >= version))
      return;
    on.taken = version;
    on.wanted = version;
    on.give_slots(!scheduler_.settings().in_flight(), groups_);
    drained(id);
  }

  void flipped(worker_id id, std::uint64_t life, version_id version) {
    if (!hosts_[id].alive || hosts_[id].life != life)
      return;
    hosts_[id].runs = version;
    hosts_[id].ran_s = now_s_;
    feed(version_acknowledged{id, version});
  }

  void late(worker_id id, std::uint64_t life, version_id version) {
    const auto& on = hosts_[id];
    if (!on.alive || on.life != life || (on.runs && *on.runs >= version))
      return;
    if (const auto until = on.ran_s + scheduler_.settings().publish.deadline_s; on.runs && until > now_s_)
      plan(until, kind::late, std::uint64_t{on.life} << 32 | id, version);
    else
      feed(weights_overdue{id, version});
  }

  /// The learner has begun an update, or ended it.
  void learned() {
    learner_.planned = 0;
    const auto ended = learner_.go_on(now_s_);
    slow_down_hosts();
    if (ended) {
      if (ended->ends_step)
        result_.trained.push_back({now_s_, step_tokens_});
      feed(batch_trained{ended->step, batch_tokens_, masked_tokens_, ended->part});
    } else {
      plan_learner();
    }
  }

  /// Whether training takes more than the sum of tokens.
  bool train_tells_groups_apart() const { return costs_.train_square_s > 0 || costs_.ranks > 1; }

  bool is_lent(worker_id id) const {
    return scheduler_.settings().place.mode == place_mode::lend && id + costs_.own_workers < costs_.workers;
  }

  /// Shares hardware with the learner.
  bool contends(worker_id id) const { return scheduler_.settings().place.mode != place_mode::lend || is_lent(id); }

  bool generates_beside_learner() const {
    if (scheduler_.settings().place.mode != place_mode::lend)
      return scheduler_.at().generating > 0;
    bool any = false;
    for (worker_id id = 0; id < costs_.workers; ++id)
      any = any || (is_lent(id) && hosts_[id].groups > 0);
    return any;
  }

  double decoding_times(worker_id id) const {
    return learner_.computes() && contends(id) ? costs_.contention * (laying_out_ > 0 ? costs_.layout_contention : 1)
                                               : 1;
  }

  void slow_down_hosts() {
    if (costs_.contention == 1 && costs_.layout_contention == 1)
      return;
    for (worker_id id = 0; id < costs_.workers; ++id)
      if (contends(id)) {
        hosts_[id].slow_down(now_s_, decoding_times(id));
        plan_worker(id);
      }
  }

  /// The learner is as slow as what goes on beside it makes it.
  void follow_load() {
    if (costs_.train_contention == 1 && costs_.layout_contention == 1)
      return;
    const bool beside = generates_beside_learner();
    if (learner_.slow_down(now_s_,
                           beside ? costs_.train_contention * (laying_out_ > 0 ? costs_.layout_contention : 1) : 1))
      plan_learner();
  }

  /// When something about the learner has changed: when its work ends as things are.
  void plan_learner() {
    if (const auto next = learner_.next_s(); next < std::numeric_limits<double>::infinity())
      learner_.planned = plan(next, kind::learned, 0, 0);
  }

  void died(worker_id id, std::uint32_t life) {
    auto& one = hosts_[id];
    if (!one.alive || one.life != life)
      return;
    one.die();
    ++result_.workers_lost;
    std::vector<group_id> here;
    groups_.each([&](group_id group, const virtual_group& on) {
      if (on.host == id)
        here.push_back(group);
    });
    for (const auto group : here)
      off(group);
    plan(now_s_ + costs_.restart_s, kind::joins, id, 0);
    feed(worker_lost{id});
  }

  void feed(const event& what) {
    const auto& actions = scheduler_.on(what, now_s_);
    if (observe_)
      observe_(what, actions, scheduler_, now_s_);
    for (const auto& one : actions)
      std::visit([this](const auto& action) { carry_out(action); }, one);
    for (const auto id : std::exchange(touched_, {}))
      plan_worker(id);
    follow_load();
  }

  void carry_out(const admit& what) {
    auto& one = groups_.insert(what.group);
    one.attempt = what.attempt;
    one.host = what.worker;
    double handed = 0;
    if (auto before = handed_.extract(what.group); what.resume && before) {
      one.kept = before.mapped().kept;
      one.lengths = std::move(before.mapped().lengths);
      one.history = std::move(before.mapped().history);
      for (const auto& each : one.history->answers)
        handed += each.done + each.said() * costs_.observed_tokens;
    } else {
      std::uint32_t answer = 0;
      for (auto& length : one.lengths.reset(what.oversampled ? answers_ : costs_.answers_per_group))
        length = static_cast<std::int32_t>(answer_tokens(costs_, what.group, answer++));
      one.keep_shortest(costs_.answers_per_group);
      if (costs_.turns > 0)
        one.begin_turns(costs_, what.group, now_s_);
    }
    auto& on = hosts_[what.worker];
    on.start(what.group, one, now_s_);
    on.compute_prompt(now_s_, costs_.prefill_s + costs_.resume_token_s * handed);
    touched_.push_back(what.worker);
    if (const auto deadline = scheduler_.settings().faults.call_deadline_s; deadline > 0)
      plan(now_s_ + deadline, kind::overdue, what.group, what.attempt);
  }

  void carry_out(const cancel& what) {
    auto* one = groups_.find(what.group);
    if (!one)
      return;
    const auto id = one->host;
    hosts_[id].stop(what.group, *one, now_s_, groups_);
    ++hosts_[id].groups;
    off(what.group);
    touched_.push_back(id);
    drained(id);
  }

  void carry_out(const interrupt& what) { plan(now_s_, kind::handed_over, what.group, what.attempt); }

  void carry_out(const cut& what) {
    batch_tokens_ = scheduler_.tokens_in_training();
    masked_tokens_ = scheduler_.masked_in_training();
    step_tokens_ = batch_tokens_ + (what.part > 0 ? step_tokens_ : 0);
    const auto& set = scheduler_.settings();
    const auto share =
        static_cast<double>(set.part_begin(what.part + 1) - set.part_begin(what.part)) / set.groups_per_step;
    std::vector<std::vector<std::int32_t>> lengths;
    if (train_tells_groups_apart())
      for (const auto group : what.groups)
        lengths.push_back(std::move(lengths_.extract(group).mapped()));
    const auto seconds = costs_.train_s * share + training_s(costs_, lengths, static_cast<double>(batch_tokens_));
    learner_.take({what.step, what.part, what.ends_step}, seconds, now_s_);
    slow_down_hosts();
    plan_learner();
  }

  void carry_out(const publish& what) {
    const auto there_s = learner_.publish(what.version, now_s_);
    for (const auto id : what.workers) {
      const auto worker_and_life = std::uint64_t{hosts_[id].life} << 32 | id;
      if (const auto deadline = scheduler_.settings().publish.deadline_s; deadline > 0)
        plan(now_s_ + deadline, kind::late, worker_and_life, what.version);
      if (costs_.layout_s > 0 || there_s > now_s_) {
        plan(there_s, kind::lays_out, worker_and_life, what.version);
      } else {
        ++laying_out_;
        laid_out(id, hosts_[id].life, what.version);
      }
    }
  }

  void carry_out(const drop& what) {
    handed_.erase(what.group);
    lengths_.erase(what.group);
  }

  void carry_out(const checkpoint& what) { plan(learner_.save(now_s_), kind::saved, what.step, 0); }

  void carry_out(const finish& what) { result_.reason = what.reason; }

  /// Adds the time up to `until_s`, in which nothing changed, to who did what in it.
  void account(double until_s) {
    const auto passed = until_s - now_s_;
    if (passed <= 0)
      return;
    auto& learner = result_.learner;
    const auto busy = learner_.busy(now_s_, until_s);
    result_.learner_busy_s += busy.compute;
    learner.compute += busy.compute;
    learner.transfer += busy.transfer;
    learner.saving += busy.saving;
    const auto free = std::max(0.0, passed - busy.compute - busy.transfer - busy.saving);
    if (scheduler_.saving())
      learner.saving += free;
    else if (const auto waits = scheduler_.learner_waits_for(); waits == wait_kind::bound)
      learner.wait_bound += free;
    else
      (waits == wait_kind::turn ? learner.wait_turn : learner.wait_input) += free;
    auto& rollout = result_.rollout;
    for (worker_id id = 0; id < costs_.workers; ++id) {
      const auto& one = hosts_[id];
      if (!one.alive) {
        rollout.dead += passed;
      } else if (one.takes_weights(now_s_)) {
        rollout.paused += passed;
      } else {
        const auto occupied = static_cast<double>(one.groups) / costs_.groups_per_worker;
        result_.decoding_s += one.groups > 0 ? passed : 0;
        rollout.compute += occupied * passed;
        (scheduler_.takes_groups(id) ? rollout.wait_credit : rollout.wait_weights) += (1 - occupied) * passed;
      }
    }
  }

  scheduler scheduler_;
  const workload& costs_;
  const observer& observe_;
  double now_s_ = 0;
  agenda agenda_;
  virtual_learner learner_;
  std::uint32_t answers_; ///< that a group starts, unless in a long round
  std::vector<virtual_worker> hosts_;
  by_id<virtual_group> groups_; ///< on workers
  std::map<group_id, virtual_group> handed_;
  std::map<group_id, std::vector<std::int32_t>> lengths_;   ///< of finished groups' answers, where training takes them
  std::vector<std::pair<group_id, std::uint32_t>> leaving_; ///< groups and attempts: between their turns
  std::vector<worker_id> touched_;
  std::uint32_t laying_out_ = 0; ///< workers that lay weights out
  std::vector<event> told_;      ///< what a worker that has ended groups reports; the lists in them are used again
  std::int64_t batch_tokens_ = 0;
  std::int64_t masked_tokens_ = 0;
  std::int64_t step_tokens_ = 0; ///< of the step's updates so far
  prediction result_;
};

} // namespace

prediction simulate(const config& schedule, const workload& costs, const observer& observe) {
  check(costs);
  auto result = virtual_run(schedule, costs, observe).run();
  const auto most =
      schedule.stale.max < unlimited ? age_limit(schedule).versions() : std::numeric_limits<std::int64_t>::max();
  for (const auto& [versions, bucket] : result.stale.at_use)
    if (versions > most)
      result.late_groups += bucket.groups;
  return result;
}

} // namespace millrace::schedule
