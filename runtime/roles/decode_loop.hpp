#pragma once

#include "runtime/endpoint/client_requests.hpp"
#include "runtime/rollout/engine.hpp"
#include "runtime/telemetry/waits.hpp"
#include "runtime/words/group_attempt.hpp"
#include "runtime/words/interrupt_granularity.hpp"
#include "runtime/words/kv_on_flip.hpp"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace millrace::roles {

/// When new weights are sampled from.
enum class flip_time : std::uint8_t {
  when_idle, ///< once no group runs; new ones wait for it
  in_flight, ///< while groups run, where they may be cut
};

/// A decode loop on a thread of its own: the engine's only caller. Between two decode steps it takes in what came:
/// groups, cancellations, interruptions, new weights, and what clients ask.
///
/// Clients are no matter of the run: none of its groups, tokens and waits counts them, and new weights do not wait for
/// them. Their answers go on under the new weights.
class decode_loop {
public:
  struct events {
    /// A group is complete; `attempt` as submitted. On the loop's thread.
    std::function<void(std::uint32_t attempt, const std::vector<std::int32_t>& prompt, rollout::finished_group)>
        finished;
    /// A group was stopped with what it has; nothing: it had not begun. On the loop's thread.
    /// @param why "": somebody asked for it; else `give_up`'s line
    std::function<void(std::uint32_t attempt, rollout::partial_group so_far, const std::string& why)> interrupted;
    /// A turn of an episode has ended: `reply` is awaited. On the loop's thread.
    std::function<void(std::uint32_t attempt, const rollout::ended_turn& turn)> turn_ended;
    /// The next token will be sampled from `version`. On the loop's thread.
    std::function<void(std::uint32_t version)> flipped;
    /// The engine threw: nothing more will be generated. On the loop's thread.
    std::function<void(std::string why)> failed;
  };

  /// @param track name of the role in the trace
  /// @param cuts  where running groups may be cut. turn: weights in flight wait until the turns that run have ended,
  /// and
  ///              meanwhile none begins; a group that is to be handed over ends its turns first
  /// @param answers_of_clients as `client_limits::answers`
  decode_loop(std::string track, std::shared_ptr<const text::tokenizer> tok, rollout::engine_options options, events on,
              interrupt_granularity cuts = interrupt_granularity::token, std::int32_t answers_of_clients = 0);
  ~decode_loop();
  decode_loop(const decode_loop&) = delete;
  decode_loop& operator=(const decode_loop&) = delete;

  /// Decoding begins with the first weights; groups may come before. A group that is here already begins anew.
  /// @param so_far what it goes on with
  void submit(rollout::group_request group, std::uint32_t attempt,
              std::optional<rollout::partial_group> so_far = std::nullopt);
  /// Stops a group and hands it over through `interrupted`; ignored if that attempt of it is not here (any more), or
  /// ends before it can be cut.
  void interrupt(std::uint64_t group, std::uint32_t attempt);
  /// The same at once, for a group that cannot go on. @param why one line
  void give_up(std::uint64_t group, std::uint32_t attempt, std::string why);
  /// What the environment says to a turn; ignored if that attempt, or that turn of it, does not wait for it (any more).
  void reply(std::uint32_t attempt, const rollout::ended_turn& turn, rollout::turn_reply what);
  /// Forgets what was submitted of a group so far; one that is not here is ignored.
  void cancel(std::uint64_t group);

  /// @param policy ready for the engine
  /// @param cache of answers that run when the weights flip
  void hand_over_weights(std::shared_ptr<const model::decoder> policy, std::uint32_t version, flip_time when,
                         kv_on_flip cache = kv_on_flip::keep);

  /// What clients ask goes before the run's groups. It waits for the first weights. Once generation has ended they are
  /// told why.
  endpoint::client_requests& clients() { return clients_; }

  /// Groups submitted and not finished.
  std::size_t groups() const;
  std::int64_t sampled_tokens() const;

  /// Tokens sampled for clients since it was asked last.
  std::int64_t take_client_tokens();

private:
  struct next_weights {
    std::shared_ptr<const model::decoder> policy;
    std::uint32_t version = 0;
    flip_time when = flip_time::in_flight;
    kv_on_flip cache = kv_on_flip::keep;
  };

  struct submission {
    rollout::group_request request;
    std::uint32_t attempt = 0;
    std::optional<rollout::partial_group> so_far;
  };

  /// A group that is to be stopped.
  struct stop {
    group_attempt what;
    std::string why;
  };

  struct arrived_reply {
    std::uint32_t attempt = 0;
    rollout::ended_turn turn;
    rollout::turn_reply what;
  };

  struct running_group {
    std::uint32_t attempt = 0;
    std::vector<std::int32_t> prompt;
  };

  /// What came since the loop looked last.
  struct arrivals {
    std::optional<next_weights> weights;
    std::vector<submission> submitted;
    std::vector<std::uint64_t> cancelled;
    std::vector<stop> interrupted;
    std::vector<std::pair<submission, std::string>> given_back; ///< interrupted before they began, and why
    std::vector<arrived_reply> replies;
    bool flips_between_turns = false; ///< weights wait for it
  };

  void run();
  bool take_in();                          ///< waits for something to do and applies what came; false when closing
  std::optional<arrivals> next_arrivals(); ///< nothing when closing
  bool can_flip() const;                   ///< the lock is held
  bool flips_between_turns() const;        ///< the lock is held
  bool can_go_on() const;                  ///< the lock is held
  bool has_slots() const;                  ///< a group of the run has one
  void decode();                           ///< for a tenth of a second, or until something comes
  void flip(next_weights next);
  void drop(std::uint64_t group); ///< from the engine, if it is there
  void hand_over(const stop& what);
  void hand_over_between_turns(); ///< those of `ending_turns_` that may be
  void go_on(const arrived_reply& reply);
  /// Tells of the turns that ended with the last step.
  void tell_turns();
  /// Keeps the record of episodes that wait for replies.
  void note_reply_wait();
  /// Keeps the record of answers that wait for room in the cache. @param parked how many now
  void note_cache_wait(std::int32_t parked);

  /// That some of the answers wait.
  struct cache_wait {
    double since_s = 0;
    std::int32_t parked = 0;
    telemetry::wait_table::key key = 0;
  };

  std::string track_;
  std::shared_ptr<const text::tokenizer> tok_;
  rollout::engine_options options_;
  events on_;
  interrupt_granularity cuts_;

  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<submission> submitted_;
  std::vector<std::uint64_t> cancelled_;
  std::vector<stop> interrupted_;
  std::vector<arrived_reply> replies_;
  std::optional<next_weights> next_;
  bool closing_ = false;
  std::size_t open_groups_ = 0;
  std::int64_t sampled_tokens_ = 0, client_tokens_ = 0;

  endpoint::client_requests clients_;
  std::optional<rollout::engine> engine_; ///< the loop's own from here on
  std::map<std::uint64_t, running_group> running_;
  std::optional<cache_wait> cache_wait_;
  std::optional<telemetry::wait_table::key> reply_wait_;
  std::vector<stop> ending_turns_; ///< groups that are handed over when none of their turns runs
  std::thread thread_;
};

} // namespace millrace::roles
