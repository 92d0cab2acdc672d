#include "runtime/schedule/config.hpp"

#include "runtime/schedule/admission.hpp"
#include "runtime/schedule/age_limit.hpp"

#include <charconv>
#include <cmath>

namespace millrace::schedule {

template <> std::vector<std::string> words_of<select_order>() { return {"in_order", "oldest", "ready", "freshest", "length_bucket"}; }
template <> std::vector<std::string> words_of<lag_unit>() { return {"step", "update", "group"}; }
template <> std::vector<std::string> words_of<stale_measure>() { return {"head", "tail", "born"}; }
template <> std::vector<std::string> words_of<stale_action>() { return {"wait", "drop", "requeue", "withhold", "mask_tokens", "train"}; }
template <> std::vector<std::string> words_of<stale_check>() { return {"cut", "publish"}; }
template <> std::vector<std::string> words_of<interrupt_mode>() { return {"drain", "pause", "abort_resume", "abort_discard"}; }
template <> std::vector<std::string> words_of<kv_mode>() { return {"keep", "recompute"}; }
template <> std::vector<std::string> words_of<publish_pattern>() { return {"push", "rolling", "pull"}; }
template <> std::vector<std::string> words_of<tail_stop>() { return {"all", "first_k"}; }
template <> std::vector<std::string> words_of<tail_surplus>() { return {"keep", "discard", "recycle_partial", "long_round"}; }
template <> std::vector<std::string> words_of<place_mode>() { return {"disjoint", "timeshare", "lend"}; }
template <> std::vector<std::string> words_of<lost_group>() { return {"replace", "shrink", "fail"}; }

std::string field_text(const std::string&, bool value) {
  return value ? "true" : "false";
}

std::string field_text(const std::string& name, std::uint32_t value) {
  return name == "stale_max" && value == no_bound ? "inf" : std::to_string(value);
}

std::string field_text(const std::string&, double value) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, value).ptr;
  return {text, end};
}

namespace {

/// Collects `found ..., want ...` for one schedule.
class complaints {
public:
  explicit complaints(const config& wanted) : set_(wanted) {}

  void refuse(const std::string& field, const std::string& want) {
    found_.push_back({field, "found " + text_of(field) + ", want " + want});
  }
  void refuse(bool wrong, const std::string& field, const std::string& want) {
    if (wrong)
      refuse(field, want);
  }
  void range(const std::string& field, double value, double low, double high) {
    if (!(value >= low && value <= high))
      refuse(field, "from " + field_text("", low) + " to " + field_text("", high));
  }
  std::string text_of(const std::string& field) const {
    std::string text;
    config::each(set_, [&](const char* name, const auto& value) {
      if (name == field)
        text = field_text(name, value);
    });
    return text;
  }
  bool empty() const { return found_.empty(); }
  std::vector<problem> take() { return std::move(found_); }

private:
  const config& set_;
  std::vector<problem> found_;
};

/// Values that mean nothing by themselves.
void check_ranges(const config& c, complaints& wrong) {
  wrong.refuse(c.groups_per_step < 1, "groups_per_step", "groups, at least 1");
  wrong.refuse(c.steps < 1, "steps", "steps, at least 1");
  wrong.refuse(c.attempts_per_group < 1, "attempts", "attempts, at least 1");
  wrong.refuse(c.data_attempts < 1, "data_attempts", "attempts, at least 1");
  wrong.refuse(c.publish_every < 1, "publish_every", "steps, at least 1");
  wrong.refuse(c.rolling_width < 1, "rolling_width", "workers, at least 1");
  wrong.refuse(c.minibatches < 1, "minibatches", "optimizer updates, at least 1");
  wrong.range("depth", c.depth, 0, std::numeric_limits<double>::infinity());
  wrong.range("warmup", c.warmup, 0, 1e6);
  wrong.range("oversample", c.oversample, 1, 100);
  wrong.range("oversample_attempts", c.oversample_attempts, 1, 100);
  wrong.range("repack_below", c.repack_below, 0, 1);
  wrong.range("min_batch_fraction", c.min_batch_fraction, 0, 1);
  wrong.range("on_policy_min", c.on_policy_min, 0, 1);
  wrong.range("reclaim_at", c.reclaim_at, 0, 1);
  wrong.range("call_deadline_s", c.call_deadline_s, 0, 1e6);
  wrong.range("publish_deadline_s", c.publish_deadline_s, 0, 1e6);
  wrong.refuse(!(c.burst > 0), "burst", "steps' worth of groups above 0, or inf: nothing could start");
  if (!wrong.empty())
    return;
  for (const auto& [name, value] : {std::pair{"depth", c.depth}, std::pair{"warmup", c.warmup}, std::pair{"oversample", c.oversample},
                                    std::pair{"oversample_attempts", c.oversample_attempts}, std::pair{"burst", c.burst}})
    wrong.refuse(!is_in_millionths(value), name, "at most six digits after the point: groups and answers are counted exactly");
}

void check_batches(const config& c, complaints& wrong) {
  wrong.refuse(c.minibatches > c.groups_per_step, "minibatches",
               "at most groups_per_step = " + std::to_string(c.groups_per_step) + ": each update needs a group");
  wrong.refuse(c.min_ready > c.groups_per_step, "min_ready", "at most groups_per_step = " + std::to_string(c.groups_per_step));
  wrong.refuse(c.min_ready != 0 && c.min_ready < c.groups_per_step && c.minibatches == 1, "min_ready",
               "0 with minibatches = 1: the one update needs the whole batch");
  const bool tokens = c.tokens_per_step > 0;
  wrong.refuse(tokens && c.minibatches > 1, "tokens_per_step", "0 with minibatches: updates of a step are of one size");
  wrong.refuse(tokens && c.action == stale_action::wait && c.bounded(), "tokens_per_step",
               "0 with action wait, which counts on B groups in each step to come");
  wrong.refuse(tokens && (c.select == select_order::in_order || c.select == select_order::length_bucket), "tokens_per_step",
               "0 with order " + word(c.select) + ", or order oldest, ready or freshest");
  const bool fresh = c.on_policy_min > 0;
  wrong.refuse(fresh && tokens, "on_policy_min", "0 with tokens_per_step: the share of a step that is not yet sized means nothing");
  wrong.refuse(fresh && c.select == select_order::in_order, "on_policy_min", "0 with order in_order, which says each batch's groups already");
  wrong.refuse(fresh && c.action == stale_action::wait && c.bounded(), "on_policy_min",
               "0 with action wait: places kept for fresh groups could make old ones miss their deadline");
  wrong.refuse(fresh && (c.publish_every > 1 || c.pattern == publish_pattern::pull), "on_policy_min",
               "0 with publish_every above 1 or pattern pull: there are steps that no group is generated under the weights of");
  wrong.refuse(fresh && c.warmup > 0, "on_policy_min", "0 with warmup: while that lead is used up no group starts under new weights");
}

/// The bound and what leads to it.
void check_bound(const config& c, complaints& wrong) {
  const bool inf = c.stale_max == no_bound;
  wrong.refuse(c.unit != lag_unit::step && !c.bounded(), "unit", "step without a bound to count in it");
  wrong.refuse(c.unit == lag_unit::update && c.minibatches == 1, "unit", "step with minibatches = 1: a step is one update");
  const auto versions = c.bounded() ? age_limit(c).versions() : 0;
  if (c.bounded() && versions < 0)
    return wrong.refuse("stale_max", "at least " + std::to_string(c.unit == lag_unit::update ? c.minibatches - 1 : c.part_begin(c.minibatches - 1)) +
                                         " with unit " + word(c.unit) + ": so far is a step's last update from the weights that it began with");
  wrong.refuse(c.action == stale_action::train && !inf, "stale_max", "inf with action train, which keeps no bound");
  wrong.refuse(c.action != stale_action::train && inf, "action", "train with max = inf: there is no bound to keep");
  wrong.refuse(c.check == stale_check::publish && c.action != stale_action::drop && c.action != stale_action::requeue, "check",
               "cut: action " + word(c.action) + " takes no group out while it generates");
  wrong.refuse(c.measure != stale_measure::head && (c.action == stale_action::withhold || c.action == stale_action::mask_tokens), "measure",
               "head with action " + word(c.action) + ", which looks at the tokens themselves");
  wrong.refuse(c.measure != stale_measure::head && c.action == stale_action::train, "measure", "head with action train, which keeps no bound");
  wrong.refuse(c.publish_every > 1 && c.depth < c.publish_every - 1, "depth",
               "at least " + std::to_string(c.publish_every - 1) + " with publish_every = " + std::to_string(c.publish_every) +
                   ": the steps between two publications need groups of the version before");
  if (!c.bounded())
    return;
  wrong.refuse(c.publish_every > 1 && versions < c.publish_every - 1, "stale_max",
               "at least " + std::to_string(c.publish_every - 1) + " versions with publish_every = " + std::to_string(c.publish_every));
  if (c.action != stale_action::wait)
    return;
  // Steps of lead whose groups are all trained before any of them is too old.
  const auto lead = static_cast<double>(age_limit(c).trained_within(0)) / c.groups_per_step - 1;
  const auto most = c.unit == lag_unit::step ? "max = " + std::to_string(c.stale_max) : field_text("", std::floor(lead * 1e6) / 1e6);
  wrong.refuse(c.depth > lead, "depth", "at most " + most + " with action wait: no group may start further ahead than it may be old");
  const bool round = c.stop == tail_stop::first_k && (c.surplus == tail_surplus::discard || c.surplus == tail_surplus::long_round);
  const double ahead = (1 + c.depth + c.warmup) * (round ? 1 : c.oversample) - 1;
  auto endless = c;
  endless.steps = no_bound;
  if (admission_limit(endless, {0, 0, 0, !round}) > age_limit(c).trained_within(0) && c.depth <= lead)
    wrong.refuse(c.warmup > 0 ? "warmup" : "oversample",
                 "less: production would lead by " + field_text("", ahead) + " steps, and action wait lets none be older than " + most);
  wrong.refuse(c.pattern == publish_pattern::pull, "pattern",
               "push or rolling with action wait: a worker that pulls starts groups under versions that may be too old already");
}

/// Rounds, oversampling and what is left over.
void check_tail(const config& c, complaints& wrong) {
  const bool keep = c.surplus == tail_surplus::keep;
  wrong.refuse(c.stop == tail_stop::first_k && c.depth > 0, "stop", "all with depth above 0: a round ends for everybody");
  wrong.refuse(c.stop == tail_stop::first_k && keep, "surplus", "discard, recycle_partial or long_round with stop first_k");
  wrong.refuse(c.stop == tail_stop::first_k && c.oversample == 1, "oversample", "more than 1 with stop first_k: nothing would be left over");
  wrong.refuse(c.stop == tail_stop::all && !keep, "surplus", "keep with stop all: nothing is stopped");
  wrong.refuse(c.oversample > 1 && c.select == select_order::in_order, "order",
               "oldest, ready, freshest or length_bucket with oversample: in_order waits for each group that was started");
  wrong.refuse(c.stop == tail_stop::first_k && c.min_ready != 0 && c.min_ready < c.groups_per_step, "min_ready",
               std::to_string(c.groups_per_step) + " with stop first_k: the round ends when its whole batch is ready");
  wrong.refuse(c.surplus == tail_surplus::recycle_partial && c.bounded() && age_limit(c).versions() == 0, "stale_max",
               "at least 1, or inf, with surplus recycle_partial: what is left over has tokens of the round before");
  wrong.refuse(c.repack_below > 0 && c.pattern != publish_pattern::pull, "repack_below",
               "0 with pattern " + word(c.pattern) + ": such a worker is given new groups as others end");
}

void check_rest(const config& c, complaints& wrong) {
  wrong.refuse(c.select == select_order::in_order && (c.action == stale_action::drop || c.action == stale_action::requeue), "order",
               "oldest, ready, freshest or length_bucket with action " + word(c.action) + ": in_order waits for each group, none is passed over");
  wrong.refuse(c.place == place_mode::timeshare && c.interrupt == interrupt_mode::pause, "interrupt",
               "drain, abort_resume or abort_discard with place timeshare: nothing is generated when it publishes");
  wrong.refuse(c.kv == kv_mode::recompute && c.interrupt != interrupt_mode::pause, "kv",
               "keep with mode " + word(c.interrupt) + ": nothing runs when the weights flip, and what goes on later is computed anew in any case");
  wrong.refuse(c.pattern == publish_pattern::pull && c.interrupt != interrupt_mode::drain, "interrupt",
               "drain with pattern pull: weights are taken when no group runs");
  wrong.refuse(c.pattern == publish_pattern::pull && c.ack != 0, "ack", "0 with pattern pull: nobody waits for workers");
  wrong.refuse(c.pattern == publish_pattern::pull && c.publish_deadline_s > 0, "publish_deadline_s", "0 with pattern pull: nobody waits for workers");
  wrong.refuse(c.pattern != publish_pattern::rolling && c.rolling_width != 1, "rolling_width", "1 unless pattern is rolling");
  wrong.refuse(c.place == place_mode::timeshare && c.min_ready != 0 && c.min_ready < c.groups_per_step, "min_ready",
               std::to_string(c.groups_per_step) + " with place timeshare: no update is trained while the step's other groups are generated");
  wrong.refuse(c.place == place_mode::timeshare && c.pattern == publish_pattern::pull, "pattern", "push or rolling with place timeshare");
  wrong.refuse(c.place == place_mode::lend && c.reclaim_at == 0, "reclaim_at", "above 0 with place lend: timeshare never generates beside training");
  wrong.refuse(c.place != place_mode::lend && c.reclaim_at > 0, "reclaim_at", "0 unless place is lend");
  wrong.refuse(c.place != place_mode::lend && c.reclaim_adapt, "reclaim_adapt", "false unless place is lend");
  wrong.refuse(c.reclaim_adapt && c.groups_per_step == 1, "reclaim_adapt", "false with groups_per_step = 1: a share of one group is that group");
  wrong.refuse(c.place == place_mode::lend && c.depth == 0, "place", "disjoint or timeshare with depth 0: nothing of the next batch is generated while one is trained");
  wrong.refuse(c.place == place_mode::lend && c.pattern == publish_pattern::pull, "place", "disjoint with pattern pull: a worker would never run empty");
  wrong.refuse(c.lost == lost_group::shrink && c.select != select_order::in_order, "lost_group",
               "replace or fail with order " + word(c.select) + ": only in_order says which step a group is for");
  wrong.refuse(c.lost == lost_group::shrink && c.flat_groups_per_step > 0, "lost_group",
               "replace or fail with drop_zero_variance: the prompt that takes the place would be for another step");
  wrong.refuse(c.lost == lost_group::shrink && c.minibatches > 1, "lost_group", "replace or fail with minibatches: updates of a step are of one size");
  wrong.refuse(c.lost != lost_group::shrink && c.min_batch_fraction > 0, "min_batch_fraction", "0 unless lost_group is shrink");
}

} // namespace

std::vector<problem> problems(const config& wanted) {
  complaints wrong(wanted);
  check_ranges(wanted, wrong);
  if (!wrong.empty())
    return wrong.take();
  check_batches(wanted, wrong);
  check_bound(wanted, wrong);
  check_tail(wanted, wrong);
  check_rest(wanted, wrong);
  return wrong.take();
}

} // namespace millrace::schedule
