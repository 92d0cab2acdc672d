#include "runtime/model/pass_threads.hpp"

#include "runtime/model/computing_threads.hpp"

#include <stdexcept>
#include <string>
#include <utility>

namespace millrace::model {

pass_threads::pass_threads(passes_at_once how) : each_(how.threads) {
  if (how.count < 1 || how.threads < 0 || (how.count > 1 && how.threads < 1))
    throw std::invalid_argument("passes at once: " + std::to_string(how.count) + " of " + std::to_string(how.threads)
                                + " threads each, want at least 1 of both");
  for (int i = 1; i < how.count; ++i) {
    auto& made = *helpers_.emplace_back(std::make_unique<helper>());
    made.thread = std::thread([this, &made, i] { help(made, static_cast<std::size_t>(i)); });
  }
}

pass_threads::~pass_threads() {
  work_ = nullptr;
  for (auto& one : helpers_)
    one->begins.release();
  for (auto& one : helpers_)
    one->thread.join();
}

void pass_threads::run(std::size_t used, const std::function<void(std::size_t thread)>& work) {
  if (used > helpers_.size() + 1)
    throw std::invalid_argument(std::to_string(used) + " passes at once, want at most " + std::to_string(count()));
  const int of_caller = at::get_num_threads();
  work_ = &work;
  for (std::size_t i = 1; i < used; ++i)
    helpers_[i - 1]->begins.release();
  std::exception_ptr failure = used > 0 ? outcome_of(0) : nullptr;
  for (std::size_t i = 1; i < used; ++i) {
    helpers_[i - 1]->ended.acquire();
    if (const auto its = std::exchange(helpers_[i - 1]->failure, nullptr); its && !failure)
      failure = its;
  }
  if (each_ > 0)
    use_computing_threads(of_caller);
  if (failure)
    std::rethrow_exception(failure);
}

void pass_threads::help(helper& me, std::size_t number) {
  for (;;) {
    me.begins.acquire();
    if (!work_)
      return;
    me.failure = outcome_of(number);
    me.ended.release();
  }
}

std::exception_ptr pass_threads::outcome_of(std::size_t number) const {
  try {
    use_computing_threads(each_);
    (*work_)(number);
  } catch (...) {
    return std::current_exception();
  }
  return nullptr;
}

} // namespace millrace::model
