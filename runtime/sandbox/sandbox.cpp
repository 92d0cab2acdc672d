#include "runtime/sandbox/sandbox.hpp"

#include "runtime/sandbox/sandboxed_process.hpp"
#include "runtime/sandbox/system_calls.hpp"

#include <condition_variable>
#include <mutex>
#include <vector>

namespace millrace::sandbox {

struct sandbox::state {
  std::string bubblewrap;
  std::string filter = system_call_filter();
  std::mutex lock;
  std::condition_variable freed;
  std::vector<bool> busy;

  /// A slot, until the end of its scope.
  class lease {
  public:
    explicit lease(state& of) : of_(of) {
      std::unique_lock hold(of_.lock);
      of_.freed.wait(hold, [&] {
        for (slot_ = 0; slot_ < of_.busy.size() && of_.busy[slot_]; ++slot_) {
        }
        return slot_ < of_.busy.size();
      });
      of_.busy[slot_] = true;
    }

    ~lease() {
      const std::lock_guard hold(of_.lock);
      of_.busy[slot_] = false;
      of_.freed.notify_one();
    }

    lease(const lease&) = delete;
    lease& operator=(const lease&) = delete;

    std::size_t slot() const { return slot_; }

  private:
    state& of_;
    std::size_t slot_ = 0;
  };
};

sandbox::sandbox(std::size_t slots, std::string bubblewrap) : state_(std::make_unique<state>()) {
  state_->bubblewrap = std::move(bubblewrap);
  if (slots == 0)
    throw std::invalid_argument("sandbox: got 0 slots, want at least 1");
  state_->busy.resize(slots);
}

sandbox::~sandbox() = default;

std::size_t sandbox::slots() const {
  return state_->busy.size();
}

outcome sandbox::run(const job& what) const {
  if (state_->bubblewrap.empty())
    throw sandbox_failure(failure_kind::refused,
                          "found no bubblewrap (bwrap) in PATH, want it to run programs: apt-get install bubblewrap");
  const state::lease mine(*state_);
  sandboxed_process process(bubblewrap_words(state_->bubblewrap, what), state_->filter, what, mine.slot());
  process.start(std::chrono::steady_clock::now() + start_up);
  return process.finish();
}

std::string sandbox::unusable() const {
  // A shell ends with status 2 when it cannot fork.
  constexpr const char* script = "unshare -U true 2>/dev/null && echo 'user namespaces inside the sandbox'\n"
                                 "for i in 1 2 3 4 5 6 7 8; do sleep 9 & done 2>/dev/null\n"
                                 "echo 'processes without a bound'";
  try {
    const auto found = run({.command = {"sh", "-c", script}, .most = {.processes = 4}});
    if (!found.out.empty())
      return "this system leaves " + found.out.substr(0, found.out.find('\n'));
    if (found.status == 2 && found.hit == bound::none)
      return {};
    return "a first program in the sandbox ended with status " + std::to_string(found.status)
           + (found.err.empty() ? "" : ": " + found.err.substr(0, found.err.find('\n')));
  } catch (const sandbox_failure& failure) {
    return failure.what();
  }
}

} // namespace millrace::sandbox
