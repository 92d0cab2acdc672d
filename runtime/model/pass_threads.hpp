#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <semaphore>
#include <thread>
#include <vector>

namespace millrace::model {

/// How many passes of a process are computed at once, and how.
struct passes_at_once {
  int count = 1;
  int threads = 0; ///< of LibTorch within each; 0: the caller's, of one pass at a time only
};

/// Threads of one process that compute passes side by side, each of another micro-batch.
///
/// A product on n threads waits for the slowest of them, and small operations keep one thread busy. These threads meet
/// only when their passes are done: so they use all cores better, and one whose core somebody else needs for a while
/// holds nobody up. Nothing that they compute depends on how the system shares cores out.
///
/// The caller is the first of them. Not thread-safe: LibTorch's products go by one number of threads a process.
class pass_threads {
public:
  /// @throws std::invalid_argument
  explicit pass_threads(passes_at_once how);
  ~pass_threads();
  pass_threads(const pass_threads&) = delete;
  pass_threads& operator=(const pass_threads&) = delete;

  int count() const { return static_cast<int>(helpers_.size()) + 1; }

  /// Calls `work(0)` to `work(used - 1)`, each on the thread of that number, and waits for all. @param used <= `count`
  /// @throws the failure of the first that failed
  void run(std::size_t used, const std::function<void(std::size_t thread)>& work);

private:
  struct helper {
    std::binary_semaphore begins{0}, ended{0};
    std::exception_ptr failure;
    std::thread thread;
  };

  void help(helper& me, std::size_t number);
  std::exception_ptr outcome_of(std::size_t number) const;

  const int each_;
  const std::function<void(std::size_t)>* work_ = nullptr; ///< nullptr: helpers end
  std::vector<std::unique_ptr<helper>> helpers_;
};

} // namespace millrace::model
