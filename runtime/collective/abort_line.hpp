#pragma once

#include "runtime/collective/group.hpp"
#include "runtime/collective/rendezvous.hpp"

#include <memory>
#include <mutex>
#include <string>

namespace millrace::collective {

/// Hands an abort of the rendezvous on, while it lives.
class abort_line {
public:
  abort_line(rendezvous& words, group& to) : words_(words), to_(std::make_shared<target>()) {
    to_->ranks = &to;
    words_.on_abort([target = to_](const std::string& why) {
      const std::lock_guard lock(target->mutex);
      if (target->ranks != nullptr)
        target->ranks->abort(why);
    });
  }

  ~abort_line() {
    words_.on_abort(nullptr);
    const std::lock_guard lock(to_->mutex);
    to_->ranks = nullptr;
  }

  abort_line(const abort_line&) = delete;
  abort_line& operator=(const abort_line&) = delete;

private:
  struct target {
    std::mutex mutex;
    group* ranks = nullptr;
  };

  rendezvous& words_;
  std::shared_ptr<target> to_;
};

} // namespace millrace::collective
