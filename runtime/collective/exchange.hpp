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
  /// How far another rank is, as this one sees it. A frozen rank may seem connected, since its kernel is awake: so the
  /// first two are the same to people.
  enum class stage { connecting, coming, sending, leaving, gone_well };

  /// @param name for people: what a rank does not come to @param outgoing, incoming as `group::exchange` wants them
  exchange(std::string name, gloo_wire& wire, int rank, std::span<const at::Tensor> outgoing,
           std::span<const at::Tensor> incoming);

  /// @param within what the deadline was, for people @throws lost
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

  const std::string name_;
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
