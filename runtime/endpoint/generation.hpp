#pragma once

#include "runtime/endpoint/client_requests.hpp"
#include "runtime/rollout/engine.hpp"

#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <thread>

namespace millrace::endpoint {

/// An engine on a thread of its own, for clients alone: continuous batching.
class generation {
public:
  /// @param waiting answers that may have no token yet
  generation(rollout::engine engine, std::size_t waiting);

  /// What is under way is dropped: nobody is told.
  ~generation();

  generation(const generation&) = delete;
  generation& operator=(const generation&) = delete;

  client_requests& clients() { return clients_; }

private:
  void run();
  bool wait_for_work(); ///< @returns false at the end

  rollout::engine engine_;
  client_requests clients_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  bool ends_ = false;
  std::thread thread_;
};

} // namespace millrace::endpoint
