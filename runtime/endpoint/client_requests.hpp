#pragma once

#include "runtime/rollout/engine.hpp"

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <span>
#include <string>
#include <vector>

namespace millrace::endpoint {

/// What the listener of a client's group is told, on the thread of the engine.
struct news {
  std::vector<rollout::drawn_token> tokens = {}; ///< that a step drew
  std::string failure = {};                      ///< not empty: nothing more comes
  int status = 400;                              ///< of HTTP, for the failure
};

struct client_limits {
  std::size_t waiting = 1024; ///< answers that may have no token yet: then no group comes; at least one
  std::int32_t answers = 0;   ///< in the engine at once; 0 = no bound. A group that has more is there alone
  bool before_others = false; ///< their answers take free slots before those of other groups in the engine
};

/// Groups that clients ask of an engine which somebody else steps. They come on any thread. Between two steps the
/// engine's thread hands them over, and after each step it tells what was drawn of them.
class client_requests {
public:
  using listener = std::function<void(const news&)>;

  /// @param arrived is called where `hand_over` has something new to do; it must not call back
  client_requests(client_limits limits, std::function<void()> arrived)
      : limits_(limits), arrived_(std::move(arrived)) {}

  client_requests(const client_requests&) = delete;
  client_requests& operator=(const client_requests&) = delete;

  /// The group's number is given here; no other group has it. Tokens come until each of its answers has ended. Any
  /// thread. @returns the group's number; 0: as many as may wait do
  std::uint64_t begin(rollout::group_request request, listener tells);

  /// Drops a group. Once it returns, the group's listener is told nothing any more. Any thread, but not a listener's.
  void cancel(std::uint64_t group);

  /// Who listens is told why, and so is whoever asks from now on. Any thread, but not a listener's.
  void close(const std::string& why);

  std::size_t under_way() const; ///< groups that somebody listens to. Any thread
  std::size_t waiting() const;   ///< answers of these that have no token. Any thread

  /// Whether a group is a client's.
  static bool is_one(std::uint64_t group) { return group >= first_group; }

  // The engine's thread:

  /// Whether `hand_over` has something to do.
  bool has_new() const;

  /// Gives the engine what came, as far as it has room, and takes from it what was cancelled.
  void hand_over(rollout::engine& to);

  /// Tells of the step that the engine has made. @returns tokens that it drew for clients
  std::int64_t tell_of_step(const rollout::engine& engine, std::span<const rollout::finished_group> finished);

  /// Groups of the engine that are clients'.
  std::size_t in_engine() const { return running_.size(); }

private:
  static constexpr std::uint64_t first_group = std::uint64_t{1} << 63;

  struct client {
    listener tells;
    std::vector<bool> begun = {}; ///< [answers], whether it has a token
  };

  std::size_t without_token() const; ///< `telling_` is held
  bool fits(const rollout::group_request& order) const;
  void admit(rollout::engine& to, rollout::group_request order);
  void tell(std::uint64_t group, const news& what);
  void forget(std::uint64_t group);

  client_limits limits_;
  std::function<void()> arrived_;
  mutable std::mutex telling_; ///< held while listeners are told
  std::map<std::uint64_t, client> clients_;
  mutable std::mutex mutex_;
  std::deque<rollout::group_request> orders_;
  std::vector<std::uint64_t> cancelled_;
  std::uint64_t next_ = first_group;
  std::string closed_;                            ///< why
  bool room_ = true;                              ///< for the first of the orders
  std::map<std::uint64_t, std::int32_t> running_; ///< answers of each group in the engine; its thread's
};

} // namespace millrace::endpoint
