#include "runtime/schedule/virtual_worker.hpp"

#include <algorithm>
#include <utility>
#include <vector>

/// Episodes under virtual time: turns that end, and replies to them.
namespace millrace::schedule {

std::int32_t virtual_group::episode_turn_end(std::uint32_t which) const {
  const auto turns = history->turns[which];
  return static_cast<std::int32_t>(std::int64_t{length(which)} * std::min(turns, history->answers[which].turn + 1)
                                   / turns);
}

void virtual_group::begin_turns(const workload& costs, group_id id, double now_s) {
  auto& [answers, carried, left_out, turns, admission] = keep_history();
  for (std::uint32_t i = 0; i < lengths.size(); ++i)
    turns.push_back(answer_turns(costs, id, i));
  if (costs.begin_s == 0)
    return;
  for (auto& each : answers) { // the first that their environment says is their prompt
    each.turn = -1;
    each.reply_s = now_s + costs.begin_s;
  }
}

void virtual_worker::forget_waiting(by_id<virtual_group>& all) {
  for (const auto& one : replies_.all())
    all.at(one.group).history->answers[one.answer].anew = true;
  for (const auto& one : waiting_)
    if (!one.is_new)
      all.at(one.group).history->answers[one.answer].anew = true;
}

std::int64_t virtual_worker::waiting_answers() const {
  return std::ranges::count_if(replies_.all(), [](const auto& one) { return !one.begins; })
         + std::ranges::count_if(waiting_, [](const auto& one) { return !one.is_new; });
}

waiting_episodes virtual_worker::waiting(const by_id<virtual_group>& all) const {
  waiting_episodes found{.answers = waiting_answers()};
  std::vector<group_id> owners;
  const auto add = [&](group_id group, std::uint32_t answer) {
    const auto each = all.at(group).answer(answer);
    found.tokens += each.done + each.said() * costs_->observed_tokens;
    owners.push_back(group);
  };
  for (const auto& one : replies_.all())
    if (!one.begins)
      add(one.group, one.answer);
  for (const auto& one : waiting_)
    if (!one.is_new)
      add(one.group, one.answer);
  std::ranges::sort(owners);
  found.groups = std::ranges::distance(owners.begin(), std::ranges::unique(owners).begin());
  return found;
}

void virtual_worker::compute_said(virtual_answer& each) {
  if (!each.unread)
    return;
  const auto said = costs_->observed_tokens;
  stand_still(at_s_, costs_->resume_token_s * (each.anew ? each.done + each.said() * said : said));
  each.unread = each.anew = false;
}

bool virtual_worker::end_turn(group_id id, virtual_group& one, std::uint32_t answer, double now_s) {
  if (costs_->turns == 0 || tokens(one, answer) < one.turn_end(answer))
    return false;
  auto& history = *one.history;
  auto& each = history.answers[answer];
  if (each.turn >= history.turns[answer])
    return false;
  count_sampled(one, answer, each.kept ? history.carried : history.left_out);
  hand_over(one, answer);
  each.reply_s = now_s + reply_s(*costs_, id, answer, each.turn);
  replies_.push({each.reply_s, id, answer});
  return true;
}

bool virtual_worker::withhold_slots(group_id id, virtual_group& one) {
  one.leaves = true;
  std::erase_if(waiting_, [&](const auto& at) { return at.group == id; });
  return std::ranges::any_of(endings_.all(), [&](const ending& at) { return at.group() == id; });
}

void virtual_worker::take_replies(double now_s, by_id<virtual_group>& all) {
  while (!replies_.empty() && replies_.front().at_s <= now_s) {
    const auto next = replies_.front();
    replies_.pop();
    auto& one = all.at(next.group);
    auto& each = one.history->answers[next.answer];
    each.reply_s = -1;
    ++each.turn;
    if (each.turn >= one.history->turns[next.answer]) {
      end_answer(next.group, one);
      continue;
    }
    each.unread = each.turn > 0;
    each.anew = each.anew && each.unread;
    if (one.leaves)
      continue; // whoever goes on with the group gives it a slot
    const waiting_answer back{one.history->admission, false, next.group, next.answer};
    waiting_.insert(std::upper_bound(waiting_.begin(), waiting_.end(), back), back);
  }
}

} // namespace millrace::schedule
