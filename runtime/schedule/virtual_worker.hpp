#pragma once

#include "runtime/schedule/by_id.hpp"
#include "runtime/schedule/workload.hpp"

#include <cstdint>
#include <deque>
#include <iterator>
#include <optional>
#include <vector>

namespace millrace::schedule {

/// One answer under virtual time.
struct virtual_answer {
  double from = -1;        ///< decoding clock of its worker when it took a slot; -1: it has none
  std::int32_t length = 0; ///< tokens in the end
  std::int32_t done = 0;   ///< of attempts before
  version_id oldest = 0;   ///< of the tokens done
  bool kept = true;        ///< one of those that the group ends with
};

/// A group on a worker, or handed over.
struct virtual_group {
  std::uint32_t attempt = 0;
  worker_id host = 0;
  double began_s = 0;
  std::uint32_t open = 0; ///< answers that have to end, or to go on until they cannot be among the shortest
  std::uint32_t kept = 0; ///< answers
  std::vector<virtual_answer> answers;
  std::vector<version_tokens> carried;  ///< of attempts before, of answers that are kept
  std::vector<version_tokens> left_out; ///< of the others, of attempts before and of answers that were cut off

  /// The `needed` shortest are kept, ties to the lower index.
  void keep_shortest(std::uint32_t needed);
  bool oversampled() const { return kept < answers.size(); }
};

/// A rollout worker under virtual time. Its decoding clock counts the tokens that every occupied slot has decoded: it
/// stands still while weights are taken or prompts computed, and runs slower the more slots are occupied.
class virtual_worker {
public:
  /// @param answers that a group starts
  virtual_worker(const workload& costs, std::uint32_t answers);

  void start(group_id id, virtual_group& one, double now_s);
  /// Takes the group off; its answers stop. @returns the tokens so far, of attempts before too
  std::vector<version_tokens> stop(group_id id, virtual_group& one, double now_s, by_id<virtual_group>& all);
  /// Groups whose last answer has ended by now.
  std::vector<group_id> ended(double now_s, by_id<virtual_group>& all);
  /// When the next answer ends, as things are; infinity: none runs.
  double next_s() const;

  /// Of the next ending.
  std::optional<group_id> next_group() const { return endings_.empty() ? std::nullopt : std::optional(endings_.front().group); }
  /// Starts to bring near what it and those after it will look at.
  void look_ahead(const by_id<virtual_group>& all) const;

  /// Tokens so far of the answers that hold a slot.
  double running_tokens(double now_s, const by_id<virtual_group>& all);
  void compute_prompt(double now_s, double seconds); ///< decodes nothing for so long
  void take_weights(double now_s, double seconds, version_id version);
  void flip(double now_s, version_id version);
  void slow_down(double now_s, double factor); ///< decode steps take so many times as long
  bool takes_weights(double now_s) const { return now_s < weights_until_s_; }

  /// Tokens of the group's answers that are kept by version, and of whole answers by the oldest version in each.
  /// @returns tokens of the others
  std::int64_t count(const virtual_group& one, std::vector<version_tokens>& tokens, std::vector<version_tokens>& answers) const;

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
    double at; ///< decoding clock
    group_id group;
    std::uint32_t attempt;
    std::uint32_t answer;

    bool operator<(const ending& other) const { return at != other.at ? at > other.at : group > other.group; }
  };
  struct flipped {
    double at; ///< decoding clock
    version_id version;
  };
  struct waiting {
    group_id group;
    std::uint32_t attempt;
    std::uint32_t answer;
  };

  void advance(double now_s);
  void stand_still(double now_s, double seconds);
  void give_slot(group_id id, virtual_group& one, std::uint32_t answer);
  void fill(by_id<virtual_group>& all);
  double step_s() const;
  /// The first flip after that time.
  std::vector<flipped>::const_iterator after(double clock) const;
  version_id version_at(double clock) const { return std::prev(after(clock))->version; }
  void count_alike(const virtual_group& one, std::vector<version_tokens>& tokens, std::vector<version_tokens>& answers) const;
  std::int32_t sampled(const virtual_answer& each) const; ///< since it took its slot
  void count_sampled(const virtual_answer& each, std::vector<version_tokens>& tokens) const;
  void hand_over(virtual_answer& each) const; ///< what it sampled is of an attempt before
  /// After an answer of an oversampled group has ended: cuts off those that cannot be kept any more.
  void cut_off(group_id id, virtual_group& one);

  const workload* costs_;
  bool one_each_; ///< answers do not get in each other's way, and all are kept: only a group's longest needs looking at
  std::uint32_t slots_;
  double clock_ = 0;
  double at_s_ = 0;      ///< of clock_
  double resumes_s_ = 0; ///< it stands still until then
  double weights_until_s_ = 0;
  double factor_ = 1;
  std::uint32_t occupied_ = 0;
  std::vector<ending> endings_; ///< a heap
  std::deque<waiting> waiting_;
  std::vector<flipped> flips_;
  mutable std::vector<std::int32_t> lengths_; ///< of count_alike
};

} // namespace millrace::schedule
