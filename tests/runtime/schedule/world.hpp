#pragma once

#include "runtime/schedule/scheduler.hpp"

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

namespace millrace::schedule {

/// A run's other half: workers, groups, a learner. Keeps books of its own about what may happen and throws, with a
/// sentence, as soon as the scheduler breaks an invariant (S-1 to S-6 of scheduler.hpp).
class world {
public:
  /// What happened, as the text of the event; "restart" for a restart from the state saved there and then.
  using move = std::string;

  explicit world(const config& settings) : config_(settings), scheduler_(settings) {}

  /// Has it happen, if it can: a report about a group that does not generate, say, cannot.
  /// Token counts are the world's own, whatever the line says. @returns whether it did
  bool play(const move& line);

  /// Something that can happen, by chance; nothing: none was found at this try.
  std::optional<move> propose(std::mt19937_64& random);

  bool finished() const { return finished_; }

  finish_reason reason() const { return reason_; }

  const scheduler& it() const { return scheduler_; }

  const std::set<group_id>& trained() const { return trained_; }

  /// After `finished`: every group is in one place, and what the run ended for is so.
  void check_end() const;
  /// Something is under way, or no worker is left. @throws otherwise
  void check_alive() const;

  bool harsh = false;                   ///< deaths, failures, losses, restarts
  std::optional<std::uint64_t> prompts; ///< how many there are
  std::uint64_t stop_after = ~0ull;     ///< events
  std::set<group_id> never_train;       ///< an invariant that is wrong on purpose, to see what a failure looks like

private:
  enum class where { queued, parked, generating, finished, ready, training };

  struct group {
    where state = where::queued;
    std::uint32_t attempt = 0;
    worker_id worker = 0;
    version_id born = 0;
    version_id from = 0; ///< version that samples its next token
    bool interrupted = false;
    bool partial = false;
    std::map<version_id, std::int64_t> tokens; ///< of finished groups, or handed over
  };

  struct worker {
    std::uint32_t capacity = 0;
    std::optional<version_id> holds;
    std::optional<version_id> sent;
    std::uint32_t running = 0;
    bool lent = false;
    bool in_turn = false; ///< takes weights, and was not late since it was sent some that it did not run
    bool late = false;
    bool sent_again = true; ///< since it is late
  };

  bool can(worker_joined& e);
  bool can(worker_lost& e);
  bool can(version_acknowledged& e);
  bool can(weights_overdue& e);
  bool can(group_finished& e);
  bool can(group_interrupted& e);
  bool can(group_ready& e);
  bool can(group_flat& e);
  bool can(group_failed& e);
  bool can(group_overdue& e);
  bool can(group_lost& e);
  bool can(batch_trained& e);
  bool can(training_lost& e);
  bool can(prompts_exhausted& e);
  bool can(checkpointed& e);
  bool can(stop_requested& e);

  bool can(checkpoint_wanted&) { return true; }

  void carry_out(const admit& what);
  void carry_out(const cancel& what);
  void carry_out(const interrupt& what);
  void carry_out(const cut& what);
  void carry_out(const publish& what);
  void carry_out(const drop& what);
  void carry_out(const checkpoint& what);
  void carry_out(const finish& what);

  void feed(const event& what);
  void restart();
  void check_books();
  void check_version(version_id version) const;
  void abandon(worker_id id);
  void off(group& one, where to);
  void forget(group& one);
  bool flips(const worker& one) const;
  version_counts sample(group_id id, const group& one, bool whole) const;
  std::int64_t trained_tokens(const group& one, const cut& batch) const;
  std::vector<group_id> in(where state) const;

  std::uint32_t attempt_of(group_id id) const { return live_.at(id).attempt; }

  move propose_worker(std::mt19937_64& random);
  std::optional<move> propose_mishap(std::mt19937_64& random);
  std::optional<move> propose_progress(std::mt19937_64& random);
  group* of(group_id id, std::uint32_t attempt, where state);
  version_id published() const;
  bool within_limit() const;
  version_id age_from(const group& one) const;
  std::uint64_t lag(version_id version, const cut& batch) const;
  std::uint64_t committed() const;

  config config_;
  scheduler scheduler_;
  std::map<group_id, group> live_;
  std::map<worker_id, worker> workers_;
  std::set<group_id> trained_;
  std::set<group_id> dropped_;
  std::uint64_t lost_ = 0; ///< of those, for good
  std::optional<cut> training_;
  std::vector<std::uint32_t> saving_;
  bool prompts_told_ = false;
  bool stopping_ = false;
  bool finished_ = false;
  finish_reason reason_ = finish_reason::steps_done;
  std::uint32_t steps_ = 0;
  std::uint32_t part_ = 0;
  std::uint32_t flat_ = 0; ///< groups replaced in this step
  version_id version_ = 0;
  version_id first_version_ = 0;
  version_id newest_sent_ = 0;      ///< in this life
  std::size_t generating_then_ = 0; ///< groups, when v got its value
  double reclaim_at_ = config_.place.reclaim_at;
  std::int64_t surplus_ = 0; ///< tokens of answers that were not kept
  group_id next_ = 0;
  worker_id next_worker_ = 0;
  std::uint64_t events_ = 0;
};

} // namespace millrace::schedule
