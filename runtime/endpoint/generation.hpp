#pragma once

#include "runtime/rollout/engine.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace millrace::endpoint {

/// The engine on a thread of its own, for requests that come at any time: continuous batching.
class generation {
public:
  /// What a group's listener is told, on the thread of the engine.
  struct news {
    std::vector<rollout::drawn_token> tokens; ///< that a step drew
    std::string failure;                      ///< not empty: nothing more comes
  };

  using listener = std::function<void(const news&)>;

  /// @param waiting groups that may wait for a slot
  generation(rollout::engine engine, std::size_t waiting);

  /// What is under way is dropped: nobody is told.
  ~generation();

  generation(const generation&) = delete;
  generation& operator=(const generation&) = delete;

  /// The group's number is given here. Tokens come until each of its answers has ended. Any thread.
  /// @returns the group's number; 0: as many as may wait do
  std::uint64_t begin(rollout::group_request request, listener tells);

  /// Drops a group. Once it returns, the group's listener is told nothing any more. Any thread, but not a listener's.
  void cancel(std::uint64_t group);

  std::size_t under_way() const; ///< groups that somebody listens to. Any thread
  std::size_t waiting() const;   ///< answers without a slot, as of the last step. Any thread

private:
  void run();
  bool take_orders();
  void take(rollout::group_request order);
  void tell(std::uint64_t group, const news& what);
  void tell_of_step(const std::vector<rollout::finished_group>& finished);
  void forget(std::uint64_t group);

  rollout::engine engine_;
  std::size_t waiting_;
  mutable std::mutex telling_; ///< held while listeners are told
  std::map<std::uint64_t, listener> listeners_;
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<rollout::group_request> orders_; ///< no answers: drop the group
  std::uint64_t last_ = 0;
  std::atomic<std::int64_t> without_slot_ = 0; ///< answers
  bool ends_ = false;
  std::thread thread_;
};

} // namespace millrace::endpoint
