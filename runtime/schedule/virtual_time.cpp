#include "runtime/schedule/virtual_time.hpp"

#include "runtime/input_error.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <queue>
#include <stdexcept>

namespace millrace::schedule {

namespace {

/// splitmix64 (Steele, Lea, Flood 2014): a good word out of any counter.
std::uint64_t mix(std::uint64_t value) {
  value += 0x9e3779b97f4a7c15u;
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9u;
  value = (value ^ (value >> 27)) * 0x94d049bb133111ebu;
  return value ^ (value >> 31);
}

/// In (0, 1), by the counter alone.
double uniform(std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  const auto word = mix(mix(mix(a) ^ b) ^ c);
  return (static_cast<double>(word >> 11) + 0.5) * 0x1p-53;
}

void check(const workload& costs) {
  const auto want = [](bool holds, const char* sentence) {
    if (!holds)
      throw input_error(std::string("workload: ") + sentence);
  };
  want(costs.workers >= 1 && costs.groups_per_worker >= 1 && costs.answers_per_group >= 1,
       "workers, groups_per_worker, answers_per_group: want at least 1 of each");
  want(costs.mean_tokens > 0 && costs.max_tokens >= 1 && costs.tokens_per_s > 0,
       "mean_tokens, max_tokens, tokens_per_s: want more than 0");
  for (const auto value : {costs.length_cv, costs.columns_s, costs.train_s, costs.publish_s, costs.checkpoint_s,
                           costs.worker_life_s, costs.restart_s, costs.mean_tokens, costs.max_tokens, costs.tokens_per_s})
    want(std::isfinite(value) && value >= 0, "costs: want finite numbers of at least 0");
}

/// One run under virtual time.
class virtual_run {
public:
  virtual_run(const config& schedule, const workload& costs, const observer& observe)
      : scheduler_(schedule), costs_(costs), observe_(observe), hosts_(costs.workers) {
    log_sigma_ = std::sqrt(std::log1p(costs.length_cv * costs.length_cv));
    log_mean_ = std::log(costs.mean_tokens) - log_sigma_ * log_sigma_ / 2;
  }

  prediction run() {
    for (worker_id id = 0; id < costs_.workers; ++id)
      join(id, version_id{0});
    while (!scheduler_.finished()) {
      if (agenda_.empty())
        throw std::logic_error("virtual time: nothing is left to happen and the run is not finished");
      const auto next = agenda_.top();
      agenda_.pop();
      now_s_ = next.at_s;
      happen(next);
    }
    result_.steps = scheduler_.at().step;
    result_.seconds = now_s_;
    result_.stale = scheduler_.stale();
    result_.books = scheduler_.books().sums();
    return result_;
  }

private:
  enum class kind : std::uint8_t { generated, columns, flipped, trained, saved, died, joins };

  struct entry {
    double at_s;
    std::uint64_t sequence; ///< breaks ties in the order of planning
    kind what;
    std::uint64_t subject; ///< group, worker (for `flipped` with its life above bit 32) or step
    std::uint32_t detail;  ///< attempt, version or life

    bool operator<(const entry& other) const {
      return at_s != other.at_s ? at_s > other.at_s : sequence > other.sequence;
    }
  };

  struct flip {
    double decoded_s; ///< of the worker's decoding time
    version_id version;
  };

  /// A group on a worker, in the worker's decoding time, which stands still while weights are taken.
  struct running {
    std::uint32_t attempt = 0;
    worker_id host = 0;
    version_id born = 0;
    double began_s = 0; ///< now
    double from_s = 0;  ///< decoding time
    double until_s = 0; ///< decoding time
    std::size_t flips = 0;
  };

  struct host {
    std::uint32_t life = 0;
    bool alive = false;
    double resumes_s = 0;   ///< end of the last pause
    double stood_s = 0;     ///< in all pauses
    std::uint32_t busy = 0; ///< groups
    std::optional<version_id> wanted; ///< takes it once drained
    std::vector<flip> flips;
  };

  void plan(double at_s, kind what, std::uint64_t subject, std::uint32_t detail) {
    agenda_.push({at_s, sequence_++, what, subject, detail});
  }

  double answer_tokens(group_id group, std::uint32_t answer) const {
    const auto radius = std::sqrt(-2 * std::log(uniform(costs_.seed, group, 2 * answer)));
    const auto normal = radius * std::cos(2 * 3.14159265358979323846 * uniform(costs_.seed, group, 2 * answer + 1));
    return std::clamp(std::round(std::exp(log_mean_ + log_sigma_ * normal)), 1.0, std::floor(costs_.max_tokens));
  }

  /// Time of the clock at which the worker will have decoded for that long, if it takes no further weights.
  double when(const host& on, double decoded_s) const { return std::max(now_s_, decoded_s + on.stood_s); }

  void join(worker_id id, std::optional<version_id> holds) {
    auto& one = hosts_[id];
    const auto life = one.life + 1;
    one = {};
    one.life = life;
    one.alive = true;
    one.resumes_s = now_s_;
    if (costs_.worker_life_s > 0)
      plan(now_s_ - costs_.worker_life_s * std::log(uniform(costs_.seed ^ 0x5bd1e995u, id, life)), kind::died, id, life);
    feed(worker_joined{id, costs_.groups_per_worker, holds, "rollout/" + std::to_string(id)});
  }

  void start(const admit& what) {
    auto& on = hosts_[what.worker];
    running one;
    one.attempt = what.attempt;
    one.host = what.worker;
    one.born = what.born;
    one.began_s = now_s_;
    one.from_s = std::max(now_s_, on.resumes_s) - on.stood_s;
    // Whoever starts while the worker takes weights decodes under them, though they are not acknowledged yet.
    one.flips = on.flips.size() - (now_s_ < on.resumes_s ? 1 : 0);
    double longest = 0;
    for (std::uint32_t i = 0; i < costs_.answers_per_group; ++i)
      longest = std::max(longest, answer_tokens(what.group, i));
    one.until_s = one.from_s + longest / costs_.tokens_per_s;
    ++on.busy;
    plan(when(on, one.until_s), kind::generated, what.group, what.attempt);
    running_[what.group] = one;
  }

  void leave(std::map<group_id, running>::iterator found) {
    auto& on = hosts_[found->second.host];
    result_.place_busy_s += now_s_ - found->second.began_s;
    --on.busy;
    const auto id = found->second.host;
    running_.erase(found);
    if (on.busy == 0 && on.wanted)
      take_weights(id, *std::exchange(on.wanted, std::nullopt));
  }

  void take_weights(worker_id id, version_id version) {
    auto& on = hosts_[id];
    on.flips.push_back({std::max(now_s_, on.resumes_s) - on.stood_s, version});
    on.resumes_s = std::max(now_s_, on.resumes_s) + costs_.publish_s;
    on.stood_s += costs_.publish_s;
    plan(on.resumes_s, kind::flipped, std::uint64_t{on.life} << 32 | id, version);
  }

  std::vector<version_tokens> sampled(group_id group, const running& one) const {
    const auto& flips = hosts_[one.host].flips;
    std::vector<version_tokens> parts{{one.born, 0}};
    std::vector<double> ends;
    for (auto i = one.flips; i < flips.size(); ++i) {
      ends.push_back(flips[i].decoded_s - one.from_s);
      parts.push_back({flips[i].version, 0});
    }
    ends.push_back(std::numeric_limits<double>::infinity());
    for (std::uint32_t answer = 0; answer < costs_.answers_per_group; ++answer) {
      const auto tokens = answer_tokens(group, answer);
      double before = 0;
      for (std::size_t i = 0; i < parts.size(); ++i) {
        const auto until = std::clamp(std::floor(ends[i] * costs_.tokens_per_s), before, tokens);
        parts[i].tokens += static_cast<std::int64_t>(until - before);
        before = until;
      }
    }
    std::erase_if(parts, [](const version_tokens& part) { return part.tokens == 0; });
    return parts;
  }

  void happen(const entry& next) {
    switch (next.what) {
      case kind::generated: return generated(next);
      case kind::columns: return feed(group_ready{next.subject, next.detail});
      case kind::flipped: return flipped(static_cast<worker_id>(next.subject), next.subject >> 32, next.detail);
      case kind::trained: return trained(static_cast<std::uint32_t>(next.subject));
      case kind::saved: return feed(checkpointed{static_cast<std::uint32_t>(next.subject)});
      case kind::died: return died(next);
      case kind::joins: return join(static_cast<worker_id>(next.subject), std::nullopt);
    }
  }

  void generated(const entry& next) {
    const auto found = running_.find(next.subject);
    if (found == running_.end() || found->second.attempt != next.detail)
      return;
    const auto end_s = when(hosts_[found->second.host], found->second.until_s);
    if (end_s > next.at_s)
      return plan(end_s, kind::generated, next.subject, next.detail);
    group_finished told{next.subject, next.detail, sampled(next.subject, found->second)};
    leave(found);
    for (const auto& part : told.tokens)
      result_.generated_tokens += part.tokens;
    ++result_.generated_groups;
    feed(told);
    plan(now_s_ + costs_.columns_s, kind::columns, next.subject, next.detail);
  }

  void flipped(worker_id id, std::uint64_t life, version_id version) {
    if (hosts_[id].alive && hosts_[id].life == life)
      feed(version_acknowledged{id, version});
  }

  void trained(std::uint32_t step) {
    result_.learner_busy_s += costs_.train_s;
    feed(batch_trained{step, scheduler_.books().live(group_state::training).tokens});
  }

  void died(const entry& next) {
    auto& one = hosts_[next.subject];
    if (!one.alive || one.life != next.detail)
      return;
    one.alive = false;
    one.wanted.reset();
    ++result_.workers_lost;
    for (auto at = running_.begin(); at != running_.end();) {
      const auto here = at++;
      if (here->second.host == next.subject)
        leave(here);
    }
    plan(now_s_ + costs_.restart_s, kind::joins, next.subject, 0);
    feed(worker_lost{static_cast<worker_id>(next.subject)});
  }

  void feed(const event& what) {
    const auto actions = scheduler_.on(what, now_s_);
    if (observe_)
      observe_(what, actions, scheduler_, now_s_);
    for (const auto& one : actions)
      std::visit([this](const auto& action) { carry_out(action); }, one);
  }

  void carry_out(const admit& what) { start(what); }
  void carry_out(const cancel& what) {
    if (const auto found = running_.find(what.group); found != running_.end())
      leave(found);
  }
  void carry_out(const cut& what) { plan(now_s_ + costs_.train_s, kind::trained, what.step, 0); }
  void carry_out(const publish& what) {
    for (const auto id : what.workers) {
      if (!scheduler_.settings().in_flight_update && hosts_[id].busy > 0)
        hosts_[id].wanted = what.version;
      else
        take_weights(id, what.version);
    }
  }
  void carry_out(const drop&) {}
  void carry_out(const checkpoint& what) { plan(now_s_ + costs_.checkpoint_s, kind::saved, what.step, 0); }
  void carry_out(const finish& what) { result_.reason = what.reason; }

  scheduler scheduler_;
  const workload& costs_;
  const observer& observe_;
  double log_mean_ = 0;
  double log_sigma_ = 0;
  double now_s_ = 0;
  std::uint64_t sequence_ = 0;
  std::priority_queue<entry> agenda_;
  std::vector<host> hosts_;
  std::map<group_id, running> running_;
  prediction result_;
};

} // namespace

double prediction::length_ratio() const {
  if (books.trained.groups == 0 || generated_tokens == 0)
    return 1;
  const auto trained = static_cast<double>(books.trained.tokens) / static_cast<double>(books.trained.groups);
  return trained * static_cast<double>(generated_groups) / static_cast<double>(generated_tokens);
}

prediction simulate(const config& schedule, const workload& costs, const observer& observe) {
  check(costs);
  auto result = virtual_run(schedule, costs, observe).run();
  for (const auto& [versions, bucket] : result.stale.at_use)
    if (versions > schedule.stale_max)
      result.late_groups += bucket.groups;
  return result;
}

} // namespace millrace::schedule
