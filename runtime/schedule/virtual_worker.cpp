#include "runtime/schedule/virtual_worker.hpp"

#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>

namespace millrace::schedule {

namespace {

constexpr double never = std::numeric_limits<double>::infinity();

/// Whole tokens decoded in that time of the decoding clock, >= 0; what a rounding error keeps from being one counts.
std::int32_t whole(double clock) {
  const double tokens = clock + 1e-6;
  return static_cast<std::int32_t>(tokens < 2e9 ? tokens : 2e9);
}

/// Length and index of the last of the `kept` shortest among the answers that are over with their `tokens(answer)`,
/// once there are so many.
template <class Tokens>
std::optional<std::pair<std::int32_t, std::uint32_t>> last_kept(const virtual_group& one, Tokens&& tokens) {
  std::vector<std::pair<std::int32_t, std::uint32_t>> ended;
  for (std::uint32_t i = 0; i < one.lengths.size(); ++i)
    if (one.is_over(i, tokens(i)))
      ended.emplace_back(one.length(i), i);
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

virtual_history& virtual_group::keep_history() {
  if (!history) {
    history = std::make_unique<virtual_history>();
    history->answers.assign(lengths.size(), {.from = from});
  }
  return *history;
}

void virtual_group::keep_shortest(std::uint32_t needed) {
  kept = std::min(needed, lengths.size());
  if (!oversampled())
    return;
  const auto last = last_kept(*this, [this](std::uint32_t answer) { return length(answer); }).value();
  auto& answers = keep_history().answers;
  for (std::uint32_t i = 0; i < answers.size(); ++i)
    answers[i].kept = std::pair{length(i), i} <= last;
}

virtual_worker::virtual_worker(const workload& costs, std::uint32_t answers, bool between_turns)
    : costs_(&costs), one_each_(costs.decode.empty() && costs.slots == 0 && answers == costs.answers_per_group
                                && costs.turns == 0 && !between_turns),
      slots_(costs.slots > 0 ? costs.slots : costs.groups_per_worker * answers) {
  flip_times_.push_back(-1);
  flip_versions_.push_back(0);
}

double virtual_worker::step_s() const {
  return factor_ * decode_step_s(*costs_, occupied_);
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
    const auto& one = all.at(next.group());
    for (std::uint32_t i = one_each_ ? 0 : next.answer(); i < (one_each_ ? one.lengths.size() : next.answer() + 1);
         ++i) {
      const auto each = one.answer(i);
      if (const double total = each.done + clock_ - each.from; total < one.turn_end(i))
        tokens += std::floor(total) + each.said() * costs_->observed_tokens;
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
  if (one.history) {
    compute_said(one.history->answers[answer]);
    one.history->answers[answer].from = clock_;
  }
  ++occupied_;
  const auto done = one.answer(answer).done;
  auto until = one.turn_end(answer);
  if (one.oversampled())
    if (const auto last = last_kept(one, [&](std::uint32_t other) { return tokens(one, other); }))
      until = std::min(until, std::max(done, too_many(answer, *last)));
  endings_.push({clock_ + until - done, id, answer});
}

void virtual_worker::start(group_id id, virtual_group& one, double now_s) {
  advance(now_s);
  ++groups;
  one.began_s = now_s;
  const auto done = [&](std::uint32_t answer) { return one.answer(answer).done; };
  if (one_each_) {
    std::uint32_t longest = 0;
    for (std::uint32_t i = 1; i < one.lengths.size(); ++i)
      if (one.length(i) - done(i) > one.length(longest) - done(longest))
        longest = i;
    one.from = clock_;
    if (one.history)
      for (auto& each : one.history->answers)
        each.from = clock_;
    one.open = 1;
    give_slot(id, one, longest);
    return;
  }
  for (auto& each : one.keep_history().answers)
    each.from = -1;
  one.history->admission = admitted_++;
  const auto last = one.oversampled() ? last_kept(one, done) : std::nullopt;
  one.open = 0;
  for (std::uint32_t i = 0; i < one.lengths.size(); ++i) {
    if (one.is_over(i, done(i)) || (last && done(i) >= too_many(i, *last)))
      continue;
    ++one.open;
    if (one.answer(i).is_away())
      replies_.push({std::max(now_s, one.answer(i).reply_s), id, i, one.answer(i).turn < 0});
    else if (gives_slots_ && occupied_ < slots_ && waiting_.empty())
      give_slot(id, one, i);
    else
      waiting_.push_back({one.history->admission, true, id, i});
  }
  if (one.open > 0)
    return;
  one.open = 1; // what was handed over was complete: it ends at once
  const auto& answers = one.history->answers;
  give_slot(
      id, one,
      static_cast<std::uint32_t>(
          std::find_if(answers.begin(), answers.end(), [](const auto& each) { return each.kept; }) - answers.begin()));
}

void virtual_worker::cut_off(group_id id, virtual_group& one) {
  const auto last = last_kept(one, [&](std::uint32_t answer) { return tokens(one, answer); });
  if (!last) {
    --one.open;
    return;
  }
  take_off(id);
  one.open = 0;
  for (std::uint32_t i = 0; i < one.lengths.size(); ++i) {
    const auto so_far = tokens(one, i);
    if (one.is_over(i, so_far))
      continue;
    if (const auto enough = too_many(i, *last); so_far < enough) {
      ++one.open;
      const auto& each = one.history->answers[i];
      if (each.from < 0)
        continue; // it waits for a slot, or for its environment
      ++occupied_;
      endings_.push({each.from + std::min(one.turn_end(i), enough) - each.done, id, i});
    } else {
      count_sampled(one, i, one.history->left_out);
      hand_over(one, i);
      const auto is_it = [&](const auto& at) { return at.group == id && at.answer == i; };
      std::erase_if(waiting_, is_it);
      replies_.erase_if(is_it);
      one.history->answers[i].reply_s = -1;
    }
  }
}

void virtual_worker::take_off(group_id id) {
  const auto before = endings_.size();
  endings_.erase_if([&](const ending& at) { return at.group() == id; });
  occupied_ -= static_cast<std::uint32_t>(before - endings_.size());
}

void virtual_worker::fill(by_id<virtual_group>& all) {
  while (gives_slots_ && occupied_ < slots_ && !waiting_.empty()) {
    const auto next = waiting_.front();
    waiting_.pop_front();
    give_slot(next.group, all.at(next.group), next.answer);
  }
}

void virtual_worker::end_answer(group_id id, virtual_group& one) {
  if (one.oversampled())
    cut_off(id, one);
  else
    --one.open;
  if (one.open == 0)
    done_.push_back(id);
}

const std::vector<group_id>& virtual_worker::ended(double now_s, by_id<virtual_group>& all) {
  // What ends now may be a rounding error away on the decoding clock.
  const double slack = 1e-9 * std::max(1.0, clock_);
  advance(now_s);
  done_.clear();
  while (!endings_.empty() && endings_.front().at <= clock_ + slack) {
    const auto next = endings_.front();
    endings_.pop();
    auto& one = all.at(next.group());
    clock_ = std::max(clock_, next.at);
    --occupied_;
    if (!end_turn(next.group(), one, next.answer(), now_s))
      end_answer(next.group(), one);
  }
  take_replies(now_s, all);
  fill(all);
  return done_;
}

void virtual_worker::die() {
  alive = false;
  wanted.reset();
  planned = 0;
  endings_.clear();
  waiting_.clear();
  replies_.clear();
  occupied_ = 0;
}

double virtual_worker::next_s() const {
  const auto replied_s = replies_.empty() ? never : replies_.front().at_s;
  if (endings_.empty())
    return replied_s;
  return std::min(replied_s, std::max(at_s_, resumes_s_) + std::max(0.0, endings_.front().at - clock_) * step_s());
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
  return each.from < 0 ? 0 : std::clamp(whole(clock_ - each.from), 0, one.turn_end(answer) - each.done);
}

/// For answers that took their slots at once: every flip is looked at once for all of them.
void virtual_worker::count_alike(const virtual_group& one, version_counts& tokens, version_counts& answers) const {
  const auto from = one.answer(0).from;
  const auto first = after(from);
  const auto* const versions = &flip_versions_[first - 1]; // the one that they began with, and those flipped to since
  lengths_.clear();
  std::int64_t sum = 0;
  for (std::uint32_t i = 0; i < one.lengths.size(); ++i) {
    lengths_.push_back(sampled(one, i));
    sum += lengths_.back();
    if (one.history)
      answers.add(one.history->answers[i].done > 0 ? one.history->answers[i].oldest : versions[0],
                  one.history->answers[i].done + lengths_.back());
  }
  if (sum > 0xffffffff)
    throw input_error("workload: found a group of " + std::to_string(sum) + " tokens, want fewer than 2^32");
  if (!one.history)
    answers.add(versions[0], sum);
  std::sort(lengths_.begin(), lengths_.end());
  const auto longest = lengths_.back();

  // Tokens that an answer without an end had by each flip, from the first before which there was one to that by which
  // all have ended, one of the last.
  auto begin = first;
  while (begin < flip_times_.size() && whole(flip_times_[begin] - from) == 0)
    ++begin;
  const auto flips = flip_times_.size() - begin;
  if (until_.size() <= flips)
    until_.resize(2 * flips + 1);
  auto* const until = until_.data();
  const auto* const times = flip_times_.data() + begin;
  for (std::size_t i = 0; i < flips; ++i)
    until[i] = whole(times[i] - from);
  auto count = flips + 1;
  while (count > 1 && until[count - 2] >= longest)
    --count;
  until[count - 1] = longest;

  const auto* const version = &flip_versions_[begin - 1];
  const bool in_place = !one.history && longest > 0 && version[count - 1] - version[0] + 1 == count;
  if (!in_place) {
    decoded_.resize(count);
    if (!one.history)
      tokens.clear();
  }
  auto* const decoded = in_place ? tokens.reset(version[0], count).data() : decoded_.data();
  // As long as none ends, all that run decode alike.
  std::size_t ended = 0;
  std::int32_t before = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const auto running = static_cast<std::uint32_t>(lengths_.size() - ended);
    for (const auto next_end = lengths_[ended]; until[i] < next_end; ++i) {
      decoded[i] = running * static_cast<std::uint32_t>(until[i] - before);
      before = until[i];
    }
    std::uint32_t last = 0;
    for (; ended < lengths_.size() && lengths_[ended] <= until[i]; ++ended)
      last += static_cast<std::uint32_t>(lengths_[ended] - before);
    decoded[i] =
        last + static_cast<std::uint32_t>(lengths_.size() - ended) * static_cast<std::uint32_t>(until[i] - before);
    before = until[i];
  }

  for (std::size_t i = 0; i < count && !in_place; ++i)
    tokens.add(version[i], decoded[i]);
}

void virtual_worker::count_sampled(const virtual_group& one, std::uint32_t answer, version_counts& tokens) const {
  const auto from = one.answer(answer).from;
  const auto decoded = sampled(one, answer);
  std::int32_t before = 0;
  for (auto flip = after(from); before < decoded; ++flip) {
    const auto until =
        flip == flip_times_.size() ? decoded : std::clamp(whole(flip_times_[flip] - from), before, decoded);
    tokens.add(flip_versions_[flip - 1], until - before);
    before = until;
  }
}

std::int64_t virtual_worker::count(const virtual_group& one, version_counts& tokens, version_counts& answers) const {
  answers.clear();
  if (!one.history) {
    count_alike(one, tokens, answers);
    return 0;
  }
  tokens = one.history->carried;
  const auto& all = one.history->answers;
  const auto from = all.front().from;
  if (!one.oversampled() && from >= 0
      && std::all_of(all.begin(), all.end(), [&](const virtual_answer& each) { return each.from == from; })) {
    count_alike(one, tokens, answers);
    return 0;
  }
  auto surplus = one.history->left_out.sum();
  for (std::uint32_t i = 0; i < all.size(); ++i) {
    const auto& each = all[i];
    const auto decoded = sampled(one, i);
    if (!each.kept) {
      surplus += decoded;
      continue;
    }
    const auto oldest = each.done > 0 || each.from < 0 ? each.oldest : version_at(each.from);
    answers.add(oldest, each.done + decoded);
    count_sampled(one, i, tokens);
  }
  return surplus;
}

void virtual_worker::hand_over(virtual_group& one, std::uint32_t answer) const {
  const auto decoded = sampled(one, answer);
  auto& each = one.history->answers[answer];
  if (each.done == 0 && decoded > 0)
    each.oldest = version_at(each.from);
  each.done += decoded;
  each.from = -1;
}

version_counts virtual_worker::stop(group_id id, virtual_group& one, double now_s, by_id<virtual_group>& all) {
  advance(now_s);
  version_counts tokens, answers;
  count(one, tokens, answers);
  auto& history = one.keep_history();
  history.carried = tokens;
  for (std::uint32_t i = 0; i < one.lengths.size(); ++i) {
    if (!history.answers[i].kept)
      count_sampled(one, i, history.left_out);
    hand_over(one, i);
    history.answers[i].unread = history.answers[i].anew = false; // whoever goes on computes all that it has
  }
  tokens.add(history.left_out);
  take_off(id);
  const auto is_its = [&](const auto& at) { return at.group == id; };
  std::erase_if(waiting_, is_its);
  replies_.erase_if(is_its);
  --groups;
  fill(all);
  return tokens;
}

} // namespace millrace::schedule
