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

virtual_history& virtual_group::keep_history() {
  if (!history) {
    history = std::make_unique<virtual_history>();
    history->answers.assign(lengths.size(), {from, 0, 0});
  }
  return *history;
}

virtual_worker::virtual_worker(const workload& costs)
    : costs_(&costs), one_each_(costs.decode.empty() && costs.slots == 0),
      slots_(costs.slots > 0 ? costs.slots : costs.groups_per_worker * costs.answers_per_group) {
  flip_times_.push_back(-1);
  flip_versions_.push_back(0);
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
  for (const auto& next : endings_.all()) {
    const auto* one = all.find(next.group());
    if (!one)
      continue;
    for (std::uint32_t i = one_each_ ? 0 : next.answer(); i < (one_each_ ? one->lengths.size() : next.answer() + 1); ++i) {
      const auto each = one->answer(i);
      if (const double total = each.done + clock_ - each.from; total < one->lengths.all()[i])
        tokens += std::floor(total);
    }
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
  if (flip_times_.back() == clock_) {
    flip_versions_.back() = version;
  } else {
    flip_times_.push_back(clock_);
    flip_versions_.push_back(version);
  }
}

void virtual_worker::slow_down(double now_s, double factor) {
  advance(now_s);
  factor_ = factor;
}

void virtual_worker::give_slot(group_id id, virtual_group& one, std::uint32_t answer) {
  auto done = std::int32_t{0};
  if (one.history) {
    one.history->answers[answer].from = clock_;
    done = one.history->answers[answer].done;
  }
  ++occupied_;
  endings_.push({clock_ + one.lengths.all()[answer] - done, id, answer});
}

void virtual_worker::start(group_id id, virtual_group& one, double now_s) {
  advance(now_s);
  ++groups;
  one.began_s = now_s;
  if (one_each_) {
    std::uint32_t longest = 0;
    for (std::uint32_t i = 1; i < one.lengths.size(); ++i)
      if (one.left(i) > one.left(longest))
        longest = i;
    one.from = clock_;
    if (one.history)
      for (auto& each : one.history->answers)
        each.from = clock_;
    one.open = 1;
    give_slot(id, one, longest);
    return;
  }
  one.open = 0;
  for (std::uint32_t i = 0; i < one.lengths.size(); ++i)
    one.open += one.left(i) > 0;
  if (one.open == 0)
    one.open = 1; // what was handed over was complete: it ends at once
  bool any = false;
  for (auto& each : one.keep_history().answers)
    each.from = -1;
  for (std::uint32_t i = 0; i < one.lengths.size(); ++i) {
    if (one.left(i) <= 0)
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

void virtual_worker::fill(by_id<virtual_group>& all) {
  while (occupied_ < slots_ && !waiting_.empty()) {
    const auto next = waiting_.front();
    waiting_.pop_front();
    if (auto* one = all.find(next.group); one && one->attempt == next.attempt)
      give_slot(next.group, *one, next.answer);
  }
}

const std::vector<group_id>& virtual_worker::ended(double now_s, by_id<virtual_group>& all) {
  // What ends now may be a rounding error away on the decoding clock.
  const double slack = 1e-9 * std::max(1.0, clock_);
  advance(now_s);
  done_.clear();
  while (!endings_.empty() && endings_.front().at <= clock_ + slack) {
    const auto next = endings_.front();
    endings_.pop();
    auto* one = all.find(next.group());
    if (!one)
      continue;
    clock_ = std::max(clock_, next.at);
    --occupied_;
    if (--one->open == 0)
      done_.push_back(next.group());
  }
  fill(all);
  return done_;
}

void virtual_worker::die() {
  alive = false;
  wanted.reset();
  planned = 0;
  endings_.clear();
  waiting_.clear();
  occupied_ = 0;
}

double virtual_worker::next_s() const {
  if (endings_.empty())
    return never;
  return std::max(at_s_, resumes_s_) + std::max(0.0, endings_.front().at - clock_) * step_s();
}

std::size_t virtual_worker::after(double clock) const {
  // Most ask about the last few flips.
  std::size_t back = 1;
  while (back < flip_times_.size() && flip_times_[flip_times_.size() - back] > clock)
    back *= 2;
  const auto begin = flip_times_.end() - static_cast<std::ptrdiff_t>(std::min(back, flip_times_.size()));
  return static_cast<std::size_t>(std::upper_bound(begin, flip_times_.end(), clock) - flip_times_.begin());
}

std::int32_t virtual_worker::sampled(const virtual_group& one, std::uint32_t answer) const {
  const auto each = one.answer(answer);
  return each.from < 0 ? 0 : std::clamp(whole(clock_ - each.from), 0, one.lengths.all()[answer] - each.done);
}

/// For answers that took their slots at once: every flip is looked at once for all of them.
void virtual_worker::count_alike(const virtual_group& one, std::vector<version_tokens>& tokens, std::vector<version_tokens>& answers) const {
  const auto from = one.answer(0).from;
  const auto first = after(from);
  const auto* const versions = &flip_versions_[first - 1]; // the one that they began with, and those flipped to since
  lengths_.clear();
  std::int64_t whole_answers = 0;
  for (std::uint32_t i = 0; i < one.lengths.size(); ++i) {
    lengths_.push_back(sampled(one, i));
    if (one.history)
      add(answers, one.history->answers[i].done > 0 ? one.history->answers[i].oldest : versions[0], one.history->answers[i].done + lengths_.back());
    else
      whole_answers += lengths_.back();
  }
  add(answers, versions[0], whole_answers);
  std::sort(lengths_.begin(), lengths_.end());

  // Tokens that an answer without an end had by each flip, up to the one by which all have ended.
  const auto flips = flip_times_.size() - first;
  until_.resize(flips + 1);
  for (std::size_t i = 0; i < flips; ++i)
    until_[i] = whole(flip_times_[first + i] - from);
  const auto count = static_cast<std::size_t>(std::lower_bound(until_.begin(), until_.begin() + static_cast<std::ptrdiff_t>(flips), lengths_.back()) - until_.begin()) + 1;
  until_[count - 1] = lengths_.back();

  auto& since = one.history ? since_ : tokens;
  since.resize(count);
  std::size_t ended = 0;
  std::int64_t before = 0;
  bool gaps = false; // versions without a token
  for (std::size_t i = 0; i < count;) {
    // As long as none ends, all that run decode alike.
    const auto running = static_cast<std::int64_t>(lengths_.size() - ended);
    for (; i < count && until_[i] < lengths_[ended]; ++i) {
      const auto decoded = running * (until_[i] - before);
      since[i] = {versions[i], decoded};
      gaps |= decoded == 0;
      before = until_[i];
    }
    if (i == count)
      break;
    std::int64_t decoded = 0;
    for (; ended < lengths_.size() && lengths_[ended] <= until_[i]; ++ended)
      decoded += lengths_[ended] - before;
    decoded += static_cast<std::int64_t>(lengths_.size() - ended) * (until_[i] - before);
    since[i] = {versions[i], decoded};
    gaps |= decoded == 0;
    before = until_[i++];
  }
  if (gaps)
    std::erase_if(since, [](const version_tokens& part) { return part.tokens == 0; });
  if (one.history)
    for (const auto& part : since_)
      add(tokens, part.version, part.tokens);
}

void virtual_worker::count(const virtual_group& one, std::vector<version_tokens>& tokens, std::vector<version_tokens>& answers) const {
  answers.clear();
  if (!one.history)
    return count_alike(one, tokens, answers);
  tokens = one.history->carried;
  const auto& all = one.history->answers;
  const auto from = all.front().from;
  if (from >= 0 && std::all_of(all.begin(), all.end(), [&](const virtual_answer& each) { return each.from == from; }))
    return count_alike(one, tokens, answers);
  for (std::uint32_t i = 0; i < all.size(); ++i) {
    const auto& each = all[i];
    const auto decoded = sampled(one, i);
    const auto oldest = each.done > 0 || each.from < 0 ? each.oldest : version_at(each.from);
    add(answers, oldest, each.done + decoded);
    std::int32_t before = 0;
    for (auto flip = after(each.from); before < decoded; ++flip) {
      const auto until = flip == flip_times_.size() ? decoded : std::clamp(whole(flip_times_[flip] - each.from), before, decoded);
      add(tokens, flip_versions_[flip - 1], until - before);
      before = until;
    }
  }
}

std::vector<version_tokens> virtual_worker::stop(group_id id, virtual_group& one, double now_s, by_id<virtual_group>& all) {
  advance(now_s);
  std::vector<version_tokens> tokens, answers;
  count(one, tokens, answers);
  auto& history = one.keep_history();
  for (std::uint32_t i = 0; i < one.lengths.size(); ++i) {
    auto& each = history.answers[i];
    const auto decoded = sampled(one, i);
    if (each.done == 0 && decoded > 0)
      each.oldest = version_at(each.from);
    each.done += decoded;
    each.from = -1;
  }
  const auto before = endings_.size();
  endings_.erase_if([&](const ending& at) { return at.group() == id; });
  occupied_ -= static_cast<std::uint32_t>(before - endings_.size());
  std::erase_if(waiting_, [&](const waiting& at) { return at.group == id; });
  --groups;
  history.carried = tokens;
  fill(all);
  return tokens;
}

} // namespace millrace::schedule
