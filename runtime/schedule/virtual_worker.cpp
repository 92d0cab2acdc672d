#include "runtime/schedule/virtual_worker.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace millrace::schedule {

namespace {

constexpr double never = std::numeric_limits<double>::infinity();

void add(std::vector<version_tokens>& to, version_id version, std::int64_t tokens) {
  if (tokens <= 0)
    return;
  if (to.empty() || to.back().version < version) {
    to.push_back({version, tokens});
    return;
  }
  auto where = std::lower_bound(to.begin(), to.end(), version, [](const version_tokens& one, version_id v) { return one.version < v; });
  if (where == to.end() || where->version != version)
    where = to.insert(where, {version, 0});
  where->tokens += tokens;
}

/// Whole tokens decoded in that time of the decoding clock, >= 0; what a rounding error keeps from being one counts.
std::int32_t whole(double clock) {
  return static_cast<std::int32_t>(std::min(clock + 1e-6, 2e9));
}

} // namespace

virtual_worker::virtual_worker(const workload& costs)
    : costs_(&costs), one_each_(costs.decode.empty() && costs.slots == 0),
      slots_(costs.slots > 0 ? costs.slots : costs.groups_per_worker * costs.answers_per_group) {
  flips_.push_back({-1, 0});
}

double virtual_worker::step_s() const {
  if (costs_->decode.empty())
    return factor_ / costs_->tokens_per_s;
  const auto& table = costs_->decode;
  const double n = occupied_;
  auto above = std::find_if(table.begin(), table.end(), [&](const decode_cost& one) { return one.occupied >= n; });
  if (above == table.begin())
    return factor_ * table.front().step_s;
  if (above == table.end()) {
    if (table.size() == 1)
      return factor_ * table.front().step_s;
    above = std::prev(table.end());
  }
  const auto below = std::prev(above);
  const auto slope = (above->step_s - below->step_s) / (above->occupied - below->occupied);
  return factor_ * std::max(1e-9, below->step_s + slope * (n - below->occupied));
}

void virtual_worker::advance(double now_s) {
  const auto from = std::max(at_s_, resumes_s_);
  if (now_s > from && occupied_ > 0)
    clock_ += (now_s - from) / step_s();
  at_s_ = std::max(at_s_, now_s);
}

void virtual_worker::stand_still(double now_s, double seconds) {
  if (seconds <= 0)
    return;
  advance(now_s);
  resumes_s_ = std::max(now_s, resumes_s_) + seconds;
}

double virtual_worker::running_tokens(double now_s, const by_id<virtual_group>& all) {
  advance(now_s);
  double tokens = 0;
  for (const auto& next : endings_) {
    const auto* one = all.find(next.group);
    if (!one || one->attempt != next.attempt)
      continue;
    for (std::uint32_t i = one_each_ ? 0 : next.answer; i < (one_each_ ? one->answers.size() : next.answer + 1); ++i)
      if (const double total = one->answers[i].done + clock_ - one->answers[i].from; total < one->answers[i].length)
        tokens += std::floor(total);
  }
  return tokens;
}

void virtual_worker::compute_prompt(double now_s, double seconds) {
  stand_still(now_s, seconds);
}

void virtual_worker::take_weights(double now_s, double seconds, version_id version) {
  flip(now_s, version);
  stand_still(now_s, seconds);
  weights_until_s_ = std::max(weights_until_s_, resumes_s_);
}

void virtual_worker::flip(double now_s, version_id version) {
  advance(now_s);
  if (flips_.back().at == clock_)
    flips_.back().version = version;
  else
    flips_.push_back({clock_, version});
}

void virtual_worker::slow_down(double now_s, double factor) {
  advance(now_s);
  factor_ = factor;
}

void virtual_worker::give_slot(group_id id, virtual_group& one, std::uint32_t answer) {
  auto& each = one.answers[answer];
  each.from = clock_;
  ++occupied_;
  endings_.push_back({clock_ + each.length - each.done, id, one.attempt, answer});
  std::push_heap(endings_.begin(), endings_.end());
}

void virtual_worker::start(group_id id, virtual_group& one, double now_s) {
  advance(now_s);
  ++groups;
  one.began_s = now_s;
  one.open = 0;
  for (const auto& each : one.answers)
    one.open += each.done < each.length;
  if (one.open == 0)
    one.open = 1; // what was handed over was complete: it ends at once
  if (one_each_) {
    std::uint32_t longest = 0;
    for (std::uint32_t i = 0; i < one.answers.size(); ++i) {
      one.answers[i].from = clock_;
      if (one.answers[i].length - one.answers[i].done > one.answers[longest].length - one.answers[longest].done)
        longest = i;
    }
    one.open = 1;
    give_slot(id, one, longest);
    return;
  }
  bool any = false;
  for (std::uint32_t i = 0; i < one.answers.size(); ++i) {
    one.answers[i].from = -1;
    if (one.answers[i].done >= one.answers[i].length)
      continue;
    any = true;
    if (occupied_ < slots_ && waiting_.empty())
      give_slot(id, one, i);
    else
      waiting_.push_back({id, one.attempt, i});
  }
  if (!any)
    give_slot(id, one, 0);
}

void virtual_worker::look_ahead(const by_id<virtual_group>& all) const {
  for (std::size_t i = 1; i < std::min<std::size_t>(3, endings_.size()); ++i)
    all.prefetch(endings_[i].group);
  if (endings_.empty())
    return;
  if (const auto* next = all.find(endings_.front().group))
    for (std::size_t i = 0; i < next->answers.size(); i += 64 / sizeof(virtual_answer))
      __builtin_prefetch(&next->answers[i]);
}

void virtual_worker::fill(by_id<virtual_group>& all) {
  while (occupied_ < slots_ && !waiting_.empty()) {
    const auto next = waiting_.front();
    waiting_.pop_front();
    if (auto* one = all.find(next.group); one && one->attempt == next.attempt)
      give_slot(next.group, *one, next.answer);
  }
}

std::vector<group_id> virtual_worker::ended(double now_s, by_id<virtual_group>& all) {
  // What ends now may be a rounding error away on the decoding clock.
  const double slack = 1e-9 * std::max(1.0, clock_);
  advance(now_s);
  std::vector<group_id> done;
  while (!endings_.empty() && endings_.front().at <= clock_ + slack) {
    const auto next = endings_.front();
    std::pop_heap(endings_.begin(), endings_.end());
    endings_.pop_back();
    auto* one = all.find(next.group);
    if (!one || one->attempt != next.attempt)
      continue;
    clock_ = std::max(clock_, next.at);
    --occupied_;
    if (--one->open == 0)
      done.push_back(next.group);
  }
  fill(all);
  return done;
}

double virtual_worker::next_s() const {
  if (endings_.empty())
    return never;
  return std::max(at_s_, resumes_s_) + std::max(0.0, endings_.front().at - clock_) * step_s();
}

std::vector<virtual_worker::flipped>::const_iterator virtual_worker::after(double clock) const {
  // Most ask about the last few flips.
  std::size_t back = 1;
  while (back < flips_.size() && flips_[flips_.size() - back].at > clock)
    back *= 2;
  const auto begin = flips_.end() - static_cast<std::ptrdiff_t>(std::min(back, flips_.size()));
  return std::upper_bound(begin, flips_.end(), clock, [](double at, const flipped& one) { return at < one.at; });
}

std::int32_t virtual_worker::sampled(const virtual_answer& each) const {
  return each.from < 0 ? 0 : std::clamp(whole(clock_ - each.from), 0, each.length - each.done);
}

/// For answers that took their slots at once: every flip is looked at once for all of them.
void virtual_worker::count_alike(const virtual_group& one, std::vector<version_tokens>& tokens, std::vector<version_tokens>& answers) const {
  const auto from = one.answers.front().from;
  auto flip = after(from);
  const auto first = std::prev(flip)->version;
  lengths_.clear();
  for (const auto& each : one.answers) {
    lengths_.push_back(sampled(each));
    add(answers, each.done > 0 ? each.oldest : first, each.done + lengths_.back());
  }
  std::sort(lengths_.begin(), lengths_.end());
  tokens.reserve(tokens.size() + static_cast<std::size_t>(flips_.end() - flip) + 1);
  const auto carried = tokens.size();
  std::size_t ended = 0;
  std::int64_t before = 0;
  for (auto version = first;; version = flip++->version) {
    const auto until = flip == flips_.end() ? lengths_.back() : std::max<std::int64_t>(whole(flip->at - from), before);
    std::int64_t decoded = 0;
    for (; ended < lengths_.size() && lengths_[ended] <= until; ++ended)
      decoded += lengths_[ended] - before;
    decoded += static_cast<std::int64_t>(lengths_.size() - ended) * (until - before);
    if (carried > 0)
      add(tokens, version, decoded);
    else if (decoded > 0)
      tokens.push_back({version, decoded});
    if (ended == lengths_.size())
      return;
    before = until;
  }
}

void virtual_worker::count(const virtual_group& one, std::vector<version_tokens>& tokens, std::vector<version_tokens>& answers) const {
  tokens = one.carried;
  answers.clear();
  const auto from = one.answers.front().from;
  if (from >= 0 && std::all_of(one.answers.begin(), one.answers.end(), [&](const virtual_answer& each) { return each.from == from; }))
    return count_alike(one, tokens, answers);
  for (const auto& each : one.answers) {
    const auto decoded = sampled(each);
    const auto oldest = each.done > 0 || each.from < 0 ? each.oldest : version_at(each.from);
    add(answers, oldest, each.done + decoded);
    std::int32_t before = 0;
    for (auto flip = after(each.from); before < decoded; ++flip) {
      const auto until = flip == flips_.end() ? decoded : std::clamp(whole(flip->at - each.from), before, decoded);
      add(tokens, std::prev(flip)->version, until - before);
      before = until;
      if (flip == flips_.end())
        break;
    }
  }
}

std::vector<version_tokens> virtual_worker::stop(group_id id, virtual_group& one, double now_s, by_id<virtual_group>& all) {
  advance(now_s);
  std::vector<version_tokens> tokens, answers;
  count(one, tokens, answers);
  for (auto& each : one.answers) {
    const auto decoded = sampled(each);
    if (each.done == 0 && decoded > 0)
      each.oldest = version_at(each.from);
    each.done += decoded;
    each.from = -1;
  }
  const auto before = endings_.size();
  std::erase_if(endings_, [&](const ending& at) { return at.group == id; });
  occupied_ -= static_cast<std::uint32_t>(before - endings_.size());
  std::make_heap(endings_.begin(), endings_.end());
  std::erase_if(waiting_, [&](const waiting& at) { return at.group == id; });
  --groups;
  one.carried = tokens;
  fill(all);
  return tokens;
}

} // namespace millrace::schedule
