#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace millrace::tests {

/// How a command ended: its status, or the signal that ended it.
struct command_end {
  int status = -1; ///< -1: ended by `signal`
  int signal = 0;
};

/// A program that runs beside the test, in a process group of its own, without a shell. What it writes is kept in
/// memory and can be read at any time. Nothing of it outlives this object, nor the test.
class running_command {
public:
  /// @param arguments the program's path first  @param folder where it runs; "" = here
  explicit running_command(const std::vector<std::string>& arguments, const std::filesystem::path& folder = {});
  ~running_command();
  running_command(const running_command&) = delete;
  running_command& operator=(const running_command&) = delete;

  pid_t pid() const { return pid_; }

  std::string out() const; ///< all it has written to stdout so far
  std::string err() const;

  /// To the program alone; to every process of its group, as a terminal does.
  void signal(int number) const;
  void signal_group(int number) const;

  /// How it ended, if it has.
  std::optional<command_end> ended();

  /// Waits until it ends. At the deadline its group is killed: SIGKILL is then how it ended.
  command_end wait(double deadline_s = 30);

private:
  pid_t pid_ = -1;
  int out_ = -1;
  int err_ = -1;
  std::optional<command_end> end_;
};

/// Looks every millisecond until `holds`, or the deadline has passed. @returns whether it held
bool wait_until(const std::function<bool()>& holds, double deadline_s = 30);

/// @returns the seconds that have passed
inline double since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

/// A variable of the environment that a process was started with; "unset" where it was not.
std::string environment_of(pid_t pid, const std::string& name);

/// Whether a process of this id is there and has not ended (a zombie has).
bool is_running(pid_t pid);

} // namespace millrace::tests
