#include "runtime/schedule/virtual_worker.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

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

/// Length and index of the last of the `kept` shortest among the answers that have all their tokens, once there are so many.
template <class Tokens> std::optional<std::pair<std::int32_t, std::uint32_t>> last_kept(const virtual_group& one, Tokens&& tokens) {
  std::vector<std::pair<std::int32_t, std::uint32_t>> ended;
  for (std::uint32_t i = 0; i < one.answers.size(); ++i)
    if (tokens(one.answers[i]) >= one.answers[i].length)
      ended.emplace_back(one.answers[i].length, i);
  if (ended.size() < one.kept)
    return std::nullopt;
  const auto last = ended.begin() + (one.kept - 1);
  std::nth_element(ended.begin(), last, ended.end());
  return *last;
}

/// Tokens with which an answer that has not ended cannot come before that one.
std::int32_t too_many(std::uint32_t answer, const std::pair<std::int32_t, std::uint32_t>& last) {
  return last.first - (answer > last.second ? 1 : 0);
}

} // namespace

void virtual_group::keep_shortest(std::uint32_t needed) {
  kept = std::min(needed, static_cast<std::uint32_t>(answers.size()));
  if (!oversampled())
    return;
  const auto last = last_kept(*this, [](const virtual_answer& each) { return each.length; }).value();
  for (std::uint32_t i = 0; i < answers.size(); ++i)
    answers[i].kept = std::pair{answers[i].length, i} <= last;
}

virtual_worker::virtual_worker(const workload& costs, std::uint32_t answers)
    : costs_(&costs), one_each_(costs.decode.empty() && costs.slots == 0 && answers == costs.answers_per_group),
      slots_(costs.slots > 0 ? costs.slots : costs.groups_per_worker * answers) {
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
  auto until = each.length;
  if (one.oversampled())
    if (const auto last = last_kept(one, [this](const virtual_answer& other) { return other.done + sampled(other); }))
      until = std::min(until, std::max(each.done, too_many(answer, *last)));
  endings_.push_back({clock_ + until - each.done, id, one.attempt, answer});
  std::push_heap(endings_.begin(), endings_.end());
}

void virtual_worker::start(group_id id, virtual_group& one, double now_s) {
  advance(now_s);
  ++groups;
  one.began_s = now_s;
  const auto last = one.oversampled() ? last_kept(one, [](const virtual_answer& each) { return each.done; }) : std::nullopt;
  const auto goes_on = [&](std::uint32_t answer) {
    const auto& each = one.answers[answer];
    return each.done < each.length && (!last || each.done < too_many(answer, *last));
  };
  one.open = 0;
  for (std::uint32_t i = 0; i < one.answers.size(); ++i)
    one.open += goes_on(i);
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
    if (!goes_on(i))
      continue;
    any = true;
    if (occupied_ < slots_ && waiting_.empty())
      give_slot(id, one, i);
    else
      waiting_.push_back({id, one.attempt, i});
  }
  if (!any)
    give_slot(id, one, static_cast<std::uint32_t>(std::find_if(one.answers.begin(), one.answers.end(), [](const auto& each) { return each.kept; }) - one.answers.begin()));
}

void virtual_worker::cut_off(group_id id, virtual_group& one) {
  const auto last = last_kept(one, [this](const virtual_answer& each) { return each.done + sampled(each); });
  if (!last) {
    --one.open;
    return;
  }
  const auto before = endings_.size();
  std::erase_if(endings_, [&](const ending& at) { return at.group == id; });
  occupied_ -= static_cast<std::uint32_t>(before - endings_.size());
  one.open = 0;
  for (std::uint32_t i = 0; i < one.answers.size(); ++i) {
    auto& each = one.answers[i];
    const auto tokens = each.done + sampled(each);
    if (tokens >= each.length)
      continue;
    if (const auto enough = too_many(i, *last); tokens < enough) {
      ++one.open;
      if (each.from < 0)
        continue; // it waits for a slot
      ++occupied_;
      endings_.push_back({each.from + std::min(each.length, enough) - each.done, id, one.attempt, i});
    } else {
      count_sampled(each, one.left_out);
      hand_over(each);
      std::erase_if(waiting_, [&](const waiting& at) { return at.group == id && at.answer == i; });
    }
  }
  std::make_heap(endings_.begin(), endings_.end());
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
    if (one->oversampled())
      cut_off(next.group, *one);
    else
      --one->open;
    if (one->open == 0)
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

void virtual_worker::count_sampled(const virtual_answer& each, std::vector<version_tokens>& tokens) const {
  const auto decoded = sampled(each);
  std::int32_t before = 0;
  for (auto flip = after(each.from); before < decoded; ++flip) {
    const auto until = flip == flips_.end() ? decoded : std::clamp(whole(flip->at - each.from), before, decoded);
    add(tokens, std::prev(flip)->version, until - before);
    before = until;
    if (flip == flips_.end())
      break;
  }
}

std::int64_t virtual_worker::count(const virtual_group& one, std::vector<version_tokens>& tokens, std::vector<version_tokens>& answers) const {
  tokens = one.carried;
  answers.clear();
  const auto from = one.answers.front().from;
  if (!one.oversampled() && from >= 0 && std::all_of(one.answers.begin(), one.answers.end(), [&](const virtual_answer& each) { return each.from == from; })) {
    count_alike(one, tokens, answers);
    return 0;
  }
  std::int64_t surplus = 0;
  for (const auto& part : one.left_out)
    surplus += part.tokens;
  for (const auto& each : one.answers) {
    const auto decoded = sampled(each);
    if (!each.kept) {
      surplus += decoded;
      continue;
    }
    const auto oldest = each.done > 0 || each.from < 0 ? each.oldest : version_at(each.from);
    add(answers, oldest, each.done + decoded);
    count_sampled(each, tokens);
  }
  return surplus;
}

void virtual_worker::hand_over(virtual_answer& each) const {
  const auto decoded = sampled(each);
  if (each.done == 0 && decoded > 0)
    each.oldest = version_at(each.from);
  each.done += decoded;
  each.from = -1;
}

std::vector<version_tokens> virtual_worker::stop(group_id id, virtual_group& one, double now_s, by_id<virtual_group>& all) {
  advance(now_s);
  std::vector<version_tokens> tokens, answers;
  count(one, tokens, answers);
  one.carried = tokens;
  for (auto& each : one.answers) {
    if (!each.kept)
      count_sampled(each, one.left_out);
    hand_over(each);
  }
  for (const auto& part : one.left_out)
    add(tokens, part.version, part.tokens);
  const auto before = endings_.size();
  std::erase_if(endings_, [&](const ending& at) { return at.group == id; });
  occupied_ -= static_cast<std::uint32_t>(before - endings_.size());
  std::make_heap(endings_.begin(), endings_.end());
  std::erase_if(waiting_, [&](const waiting& at) { return at.group == id; });
  --groups;
  fill(all);
  return tokens;
}

} // namespace millrace::schedule
