#pragma once

#include "runtime/collective/gloo_wire.hpp"
#include "runtime/collective/group.hpp"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>

namespace millrace::collective {

/// One exchange of a group, from the greeting to the farewell.
///
/// Each two ranks tell each other how many bytes they send and expect, then send them, then take leave. A rank takes
/// leave when it has everything from everybody. The wait for the other's farewell begins first of all: it is the wait
/// that ends when the other dies (`gloo_wire` says why).
///
/// Two threads for each other rank: one talks, one waits for the farewell. The caller's own thread keeps the deadline.
class exchange {
public:
  /// How far another rank is, as this one sees it.
  enum class stage { connecting, coming, sending, leaving, gone_well };

  /// @param outgoing @param incoming one tensor a rank, as `group::exchange` wants them
  exchange(gloo_wire& wire, int rank, std::span<const at::Tensor> outgoing, std::span<const at::Tensor> incoming);

  /// @throws lost
  void run(std::chrono::milliseconds within, std::chrono::steady_clock::time_point deadline);

  /// Ends it with `lost(why)`. Any thread.
  void fail(const std::string& why);

  group::waiting waits() const;

private:
  /// Lengths in bytes, as the sender of the greeting has them.
  struct greeting {
    std::int64_t sends = 0;
    std::int64_t expects = 0;
  };

  void talk(int peer);
  void listen(int peer);
  void guarded(int peer, void (exchange::*part)(int));
  gloo_wire::post& post(std::unique_ptr<gloo_wire::post> one);
  void reached(int peer, stage next);
  void take_leave();
  std::vector<int> behind(stage& where) const; ///< with the lock held
  std::string late(std::chrono::milliseconds within) const;

  gloo_wire& wire_;
  const int rank_, size_;
  std::span<const at::Tensor> outgoing_, incoming_;
  const double since_s_;
  std::atomic<int> talking_; ///< ranks from or to whom bytes are still to travel

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<stage> stages_;
  std::deque<std::unique_ptr<gloo_wire::post>> posts_;
  std::optional<std::string> failed_;
  int threads_ = 0; ///< that have not ended
};

} // namespace millrace::collective
