#include "runtime/collective/exchange_line.hpp"

#include <utility>

namespace millrace::collective {

exchange_line::exchange_line(std::shared_ptr<group> ranks) : ranks_(std::move(ranks)), thread_([this] { work(); }) {
}

exchange_line::~exchange_line() {
  bool busy = false;
  {
    const std::lock_guard lock(mutex_);
    ends_ = true;
    busy = busy_;
  }
  if (busy)
    ranks_->abort("the exchange is given up");
  changed_.notify_all();
  thread_.join();
}

std::shared_future<void> exchange_line::post(std::vector<at::Tensor> outgoing, std::vector<at::Tensor> incoming) {
  std::packaged_task<void()> one(
      [this, out = std::move(outgoing), in = std::move(incoming)] { ranks_->exchange(out, in); });
  auto done = one.get_future().share();
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(one));
  }
  changed_.notify_all();
  return done;
}

void exchange_line::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return ends_ || !waiting_.empty(); });
    if (ends_)
      return;
    auto one = std::move(waiting_.front());
    waiting_.pop_front();
    busy_ = true;
    lock.unlock();
    one();
    lock.lock();
    busy_ = false;
  }
}

} // namespace millrace::collective
