#pragma once

#include "runtime/rollout/engine.hpp"
#include "runtime/transport/bundle.hpp"

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
#include <vector>

namespace millrace::actors {

/// The columns that a rollout adds, packed without padding: `prompt_tokens` i32 [P], `tokens` i32, `mask` u8, `logprob`
/// f32 and `version` u32 [sum of lengths], `lengths` i32, `finish` u8 and `text_lengths` i32 [answers], `text` u8 [bytes].
/// `mask` is 1 for every token here: the policy sampled it.
/// `kept`, i32 [answers], is `rollout::finished_group::kept`; not there where all were kept.
/// `recomputed`, u8 like `mask`, is 1 where `rollout::answer::recomputed` names the token; not there if nowhere.
/// @param greedy so many of the answers, the last ones, are there for their reward alone: the column `greedy`, u8
///               [answers], says which; not there where it is 0
transport::bundle columns_of(const std::vector<std::int32_t>& prompt, const rollout::finished_group& group, std::size_t greedy = 0);

/// What is handed over of a group that was stopped: `tokens`, `logprob`, `version`, `lengths`, `finish` and `recomputed` as
/// of a finished group, and `ended` u8 [answers].
transport::bundle columns_of(const rollout::partial_group& group);

/// @throws std::invalid_argument, std::out_of_range for columns that `columns_of` did not write
rollout::partial_group partial_of(std::uint64_t group, const transport::bundle& columns);

/// Answer tokens by the version that sampled them, without those of the `greedy` last answers.
std::map<std::uint32_t, std::int64_t> tokens_by_version(const std::vector<rollout::answer>& answers, std::size_t greedy = 0);

/// Answer tokens by the oldest version in the answer that they belong to, without those of the `greedy` last answers.
std::map<std::uint32_t, std::int64_t> tokens_by_oldest_version(const rollout::finished_group& group, std::size_t greedy = 0);

/// Tokens of the `greedy` last answers.
std::int64_t greedy_tokens(const rollout::finished_group& group, std::size_t greedy);

/// When new weights are sampled from.
enum class flip_mode : std::uint8_t {
  when_idle, ///< once no group runs; new ones wait for it
  keep,      ///< between two decode steps, cached keys and values of running answers stay
  recompute, ///< between two decode steps, they are computed anew
};

/// A decode loop on a thread of its own: the engine's only caller. Between two decode steps it takes in what came:
/// groups, cancellations, interruptions, new weights.
class generation {
public:
  struct events {
    /// A group is complete; `attempt` as submitted. On the loop's thread.
    std::function<void(std::uint32_t attempt, const std::vector<std::int32_t>& prompt, rollout::finished_group)> finished;
    /// A group was stopped with what it has; nothing: it had not begun. On the loop's thread.
    std::function<void(std::uint32_t attempt, rollout::partial_group so_far)> interrupted;
    /// The next token will be sampled from `version`. On the loop's thread.
    std::function<void(std::uint32_t version)> flipped;
    /// The engine threw: nothing more will be generated. On the loop's thread.
    std::function<void(std::string why)> failed;
  };

  /// @param track name of the role in the trace
  generation(std::string track, std::shared_ptr<const model::tokenizer> tok, rollout::engine_options options, events on);
  ~generation();
  generation(const generation&) = delete;
  generation& operator=(const generation&) = delete;

  /// Decoding begins with the first weights; groups may come before. A group that is here already begins anew.
  /// @param so_far what it goes on with
  void submit(rollout::group_request group, std::uint32_t attempt, std::optional<rollout::partial_group> so_far = std::nullopt);
  /// Stops a group and hands it over through `interrupted`; ignored if that attempt of it is not here (any more).
  void interrupt(std::uint64_t group, std::uint32_t attempt);
  /// Forgets what was submitted of a group so far; one that is not here is ignored.
  void cancel(std::uint64_t group);

  /// @param policy ready for the engine
  void stage(std::shared_ptr<const model::decoder> policy, std::uint32_t version, flip_mode how);

  /// Groups submitted and not finished.
  std::size_t groups() const;
  std::int64_t sampled_tokens() const;

private:
  struct staged_weights {
    std::shared_ptr<const model::decoder> policy;
    std::uint32_t version = 0;
    flip_mode how = flip_mode::keep;
  };
  struct submission {
    rollout::group_request request;
    std::uint32_t attempt = 0;
    std::optional<rollout::partial_group> so_far;
  };
  struct running_group {
    std::uint32_t attempt = 0;
    std::vector<std::int32_t> prompt;
  };

  void run();
  bool take_in(); ///< applies what came; false when closing
  void flip(staged_weights next);
  void drop(std::uint64_t group); ///< from the engine, if it is there
  void hand_over(std::uint64_t group, std::uint32_t attempt);

  std::string track_;
  std::shared_ptr<const model::tokenizer> tok_;
  rollout::engine_options options_;
  events on_;

  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<submission> submitted_;
  std::vector<std::uint64_t> cancelled_;
  std::vector<std::pair<std::uint64_t, std::uint32_t>> interrupted_; ///< groups and attempts
  std::optional<staged_weights> staged_;
  bool closing_ = false;
  std::size_t open_groups_ = 0;
  std::int64_t sampled_tokens_ = 0;

  std::optional<rollout::engine> engine_;         ///< the loop's own from here on
  std::map<std::uint64_t, running_group> running_;
  std::thread thread_;
};

} // namespace millrace::actors
