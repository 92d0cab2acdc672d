#pragma once

#include <sys/types.h>

#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::data {

/// The process died, or gave no byte until the deadline: what it was doing is not done.
struct process_lost : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// A Python of the user's that runs one script. The two talk over a socket of their own, descriptor 3 of the script:
/// what a library prints to stdout goes to stderr and disturbs nothing. The process ends when its socket closes, so
/// also when this process dies. Not thread-safe.
class python_process {
public:
  /// @param python    path of the interpreter, or a name to look for in PATH
  /// @param script    the program's text
  /// @param patience  how long the process may give no byte while one is wanted
  /// @throws input_error "cannot start PYTHON: ..."
  python_process(const std::string& python, const std::string& script, const std::vector<std::string>& arguments,
                 std::chrono::milliseconds patience);
  ~python_process(); ///< kills and reaps it

  python_process(const python_process&) = delete;
  python_process& operator=(const python_process&) = delete;

  /// @throws process_lost
  void send(std::string_view bytes);

  /// The next line that it sent, without the newline. @throws process_lost
  std::string line();

  /// The next bytes that it sent. @throws process_lost
  std::string bytes(std::size_t count);

private:
  void fill();
  void wait_for(short events);
  [[noreturn]] void lost();

  pid_t pid_ = -1;
  int socket_ = -1;
  std::chrono::milliseconds patience_;
  std::string buffer_; ///< received, not taken
};

} // namespace millrace::data
