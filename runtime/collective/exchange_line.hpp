#pragma once

#include "runtime/collective/group.hpp"

#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace millrace::collective {

/// Exchanges of a group one after another, beside the work of the thread that asks for them. While one is under way,
/// nobody else may call the group's `exchange`.
class exchange_line {
public:
  explicit exchange_line(std::shared_ptr<group> ranks);

  /// Aborts the group if an exchange is still under way.
  ~exchange_line();
  exchange_line(const exchange_line&) = delete;
  exchange_line& operator=(const exchange_line&) = delete;

  /// As `group::exchange`, after all that was asked for before. The tensors are kept until it has ended.
  /// @returns what is ready when it has ended, with the exception that it threw
  std::shared_future<void> post(std::vector<at::Tensor> outgoing, std::vector<at::Tensor> incoming);

  group& ranks() const { return *ranks_; }

private:
  void work();

  std::shared_ptr<group> ranks_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::packaged_task<void()>> waiting_;
  bool ends_ = false, busy_ = false;
  std::thread thread_;
};

} // namespace millrace::collective
