#pragma once

#include "runtime/schedule/by_id.hpp"
#include "runtime/schedule/inline_list.hpp"
#include "runtime/schedule/prediction.hpp"
#include "runtime/schedule/quad_heap.hpp"
#include "runtime/schedule/workload.hpp"

#include <algorithm>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

namespace millrace::schedule {

/// How far one answer is.
struct virtual_answer {
  double from = -1;      ///< decoding clock of its worker when it took a slot; -1: it has none
  std::int32_t done = 0; ///< tokens of attempts before
  version_id oldest = 0; ///< of the tokens done
  bool kept = true;      ///< one of those that the group ends with
  bool unread = false;   ///< what its environment said last was not computed yet
  bool anew = false;     ///< nor has it keys and values of anything before
  std::int32_t turn = 0; ///< that it is in; its turns: it is over; -1: its episode has not begun
  double reply_s = -1;   ///< when its environment replies to the turn that has ended; < 0: none has

  bool is_away() const { return reply_s >= 0; }

  /// What its environment said to.
  std::int32_t said() const { return std::max(turn, 0); }
};

/// Of a group whose answers do not all take a slot at once or are not all kept, or that was handed over.
struct virtual_history {
  std::vector<virtual_answer> answers;
  version_counts carried;          ///< of attempts before, of answers that are kept
  version_counts left_out;         ///< of the others, of attempts before and of answers that were cut off
  std::vector<std::int32_t> turns; ///< of each answer; empty: answers are no episodes
  std::uint64_t admission = 0;     ///< counts the groups of its worker
};

/// A group on a worker. Small, as thousands of them take turns in the processor's cache.
struct virtual_group {
  double began_s = 0;
  double from = -1; ///< `virtual_answer::from` of all its answers, without a history
  std::uint32_t attempt = 0;
  worker_id host = 0;
  std::uint32_t open = 0; ///< answers that have to end, or to go on until they cannot be among the shortest
  std::uint32_t kept = 0; ///< answers
  bool leaves = false;    ///< it is handed over when its turns under way have ended: none of its answers gets a slot
  inline_list<std::int32_t, 8> lengths;     ///< tokens in the end, of each answer
  std::unique_ptr<virtual_history> history; ///< none: every answer took its slot at `from` and is kept

  virtual_answer answer(std::uint32_t which) const {
    return history ? history->answers[which] : virtual_answer{.from = from};
  }

  std::int32_t length(std::uint32_t which) const { return lengths.all()[which]; }

  /// Tokens of an answer at the end of the turn that it is in.
  std::int32_t turn_end(std::uint32_t which) const {
    return history && !history->turns.empty() ? episode_turn_end(which) : length(which);
  }

  std::int32_t episode_turn_end(std::uint32_t which) const; ///< likewise, of an episode

  bool is_over(std::uint32_t which, std::int32_t tokens) const {
    return tokens >= length(which) && !answer(which).is_away();
  }

  void begin_turns(const workload& costs, group_id id, double now_s); ///< its answers are episodes
  virtual_history& keep_history();                                    ///< makes it if there is none
  /// The `needed` shortest are kept, ties to the lower index.
  void keep_shortest(std::uint32_t needed);

  bool oversampled() const { return kept < lengths.size(); }
};

/// A rollout worker under virtual time. Its decoding clock counts the tokens that every occupied slot has decoded: it
/// stands still while weights are taken or prompts computed, and runs slower the more slots are occupied.
class virtual_worker {
public:
  /// @param answers that a group starts  @param between_turns answers may have to wait for others' turns to end
  virtual_worker(const workload& costs, std::uint32_t answers, bool between_turns = false);

  void start(group_id id, virtual_group& one, double now_s);
  /// Takes the group off; its answers stop. @returns the tokens so far, of attempts before too
  version_counts stop(group_id id, virtual_group& one, double now_s, by_id<virtual_group>& all);
  /// Groups whose last answer has ended by now; valid until the next call.
  const std::vector<group_id>& ended(double now_s, by_id<virtual_group>& all);
  /// When the next turn ends or is replied to, as things are; infinity: none runs.
  double next_s() const;

  /// Whatever ran is gone.
  void die();

  /// Calls `visit(group)` for the group of the next ending and those of a few that may be next after it.
  template <class Visit>
  void each_next(Visit&& visit) const {
    for (std::size_t i = 0; i < std::min<std::size_t>(3, endings_.size()); ++i)
      visit(endings_.all()[i].group());
  }

  /// Tokens so far of the answers that hold a slot.
  double running_tokens(double now_s, const by_id<virtual_group>& all);
  /// Answers that had a slot and will again have no keys and values any more.
  void forget_waiting(by_id<virtual_group>& all);
  std::int64_t waiting_answers() const; ///< that had a slot and will again
  waiting_episodes waiting(const by_id<virtual_group>& all) const;
  void compute_prompt(double now_s, double seconds); ///< decodes nothing for so long
  void take_weights(double now_s, double seconds, version_id version);
  void flip(double now_s, version_id version);
  void slow_down(double now_s, double factor); ///< decode steps take so many times as long

  /// Whether answers get slots. While none does, those that have one go on to the end of their turn.
  void give_slots(bool on, by_id<virtual_group>& all) {
    gives_slots_ = on;
    fill(all);
  }

  bool has_slots() const { return occupied_ > 0; } ///< an answer has one

  /// No answer of the group gets a slot any more. @returns whether one has one
  bool withhold_slots(group_id id, virtual_group& one);

  bool takes_weights(double now_s) const { return now_s < weights_until_s_; }

  /// Tokens of the group's answers that are kept by version, and of whole answers by the oldest version in each.
  /// @returns tokens of the others
  std::int64_t count(const virtual_group& one, version_counts& tokens, version_counts& answers) const;

  std::uint32_t life = 0;
  bool alive = false;
  std::uint32_t groups = 0;
  std::uint64_t planned = 0; ///< stamp of the agenda's entry that counts
  double planned_s = 0;
  std::optional<version_id> wanted; ///< takes it once empty
  std::optional<version_id> taken;  ///< newest that it takes, or has taken
  std::optional<version_id> runs;   ///< newest that it has acknowledged
  double ran_s = 0;                 ///< when

private:
  struct ending {
    double at;         ///< decoding clock
    std::uint64_t who; ///< group and answer

    static constexpr std::uint32_t answer_bits = 20; ///< `most_answers`

    ending(double when, group_id of, std::uint32_t which) : at(when), who(of << answer_bits | which) {}

    group_id group() const { return who >> answer_bits; }

    std::uint32_t answer() const { return static_cast<std::uint32_t>(who) & ((1u << answer_bits) - 1); }

    bool operator<(const ending& other) const { return at != other.at ? at < other.at : who < other.who; }
  };

  static_assert(most_answers == 1u << ending::answer_bits);

  /// An answer without a slot, in the order in which they get one: of the oldest group first, and of that those first
  /// that had one before.
  struct waiting_answer {
    std::uint64_t admission;
    bool is_new;
    group_id group;
    std::uint32_t answer;

    bool operator<(const waiting_answer& other) const {
      return admission != other.admission ? admission < other.admission : is_new < other.is_new;
    }
  };

  struct reply {
    double at_s;
    group_id group;
    std::uint32_t answer;
    bool begins = false; ///< its prompt: until then there is nothing that it keeps

    bool operator<(const reply& other) const {
      return at_s != other.at_s     ? at_s < other.at_s
             : group != other.group ? group < other.group
                                    : answer < other.answer;
    }
  };

  void advance(double now_s);
  void stand_still(double now_s, double seconds);
  void give_slot(group_id id, virtual_group& one, std::uint32_t answer);
  void fill(by_id<virtual_group>& all);
  void compute_said(virtual_answer& each); ///< what its environment said, before its next token
  /// The answer leaves its slot until its environment replies. @returns false where it has ended for good
  bool end_turn(group_id id, virtual_group& one, std::uint32_t answer, double now_s);
  void take_replies(double now_s, by_id<virtual_group>& all);
  void end_answer(group_id id, virtual_group& one);
  double step_s() const;
  /// The first flip after that time: its place, or how many there are.
  std::size_t after(double clock) const;

  version_id version_at(double clock) const { return flip_versions_[after(clock) - 1]; }

  void count_alike(const virtual_group& one, version_counts& tokens, version_counts& answers) const;
  std::int32_t sampled(const virtual_group& one, std::uint32_t answer) const; ///< since it took its slot

  /// Tokens of the answer so far.
  std::int32_t tokens(const virtual_group& one, std::uint32_t answer) const {
    return one.answer(answer).done + sampled(one, answer);
  }

  void count_sampled(const virtual_group& one, std::uint32_t answer, version_counts& tokens) const;
  void hand_over(virtual_group& one, std::uint32_t answer) const; ///< what it sampled is of an attempt before
  /// After an answer of an oversampled group has ended: cuts off those that cannot be kept any more.
  void cut_off(group_id id, virtual_group& one);
  void take_off(group_id id); ///< its answers hold no slots any more

  const workload* costs_;
  bool one_each_; ///< answers do not get in each other's way, and all are kept: only a group's longest needs looking at
  std::uint32_t slots_;
  bool gives_slots_ = true;
  double clock_ = 0;
  double at_s_ = 0;      ///< of clock_
  double resumes_s_ = 0; ///< it stands still until then
  double weights_until_s_ = 0;
  double factor_ = 1;
  std::uint32_t occupied_ = 0;
  quad_heap<ending> endings_;
  std::deque<waiting_answer> waiting_;
  quad_heap<reply> replies_; ///< that are to come
  std::uint64_t admitted_ = 0;
  std::vector<double> flip_times_;                    ///< decoding clock, ascending
  std::vector<version_id> flip_versions_;             ///< flipped to then
  std::vector<group_id> done_;                        ///< of `ended`
  mutable std::vector<std::int32_t> lengths_, until_; ///< of `count_alike`
  mutable std::vector<std::uint32_t> decoded_;        ///< of `count_alike`
};

} // namespace millrace::schedule
