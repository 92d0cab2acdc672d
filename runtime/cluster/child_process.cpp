#include "runtime/cluster/child_process.hpp"

#include "runtime/cluster/signals.hpp"
#include "runtime/words/input_error.hpp"
#include "runtime/words/no_signals.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>

namespace millrace::cluster {
namespace {

std::string describe(int status) {
  if (WIFSIGNALED(status))
    return "signal " + std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) + ")";
  return "exit status " + std::to_string(WEXITSTATUS(status));
}

std::vector<char*> pointers(std::vector<std::string>& strings) {
  std::vector<char*> result;
  for (auto& s : strings)
    result.push_back(s.data());
  result.push_back(nullptr);
  return result;
}

} // namespace

child_processes::child_processes(std::function<void(child_exit)> on_exit) : on_exit_(std::move(on_exit)) {
  if (pipe2(wake_, O_CLOEXEC) != 0)
    throw input_error(std::string("cannot make a pipe: ") + std::strerror(errno));
  watcher_ = std::thread([this] { watch(); });
}

child_processes::~child_processes() {
  {
    std::unique_lock lock(mutex_);
    for (const auto& [pid, fd] : running_)
      kill(pid, SIGKILL);
    changed_.wait(lock, [this] { return running_.empty(); });
    closing_ = true;
  }
  [[maybe_unused]] const auto written = write(wake_[1], "x", 1);
  watcher_.join();
  close(wake_[0]);
  close(wake_[1]);
}

pid_t child_processes::start(const child_command& what) {
  // Everything that allocates happens before fork: another thread may hold the allocator's lock.
  const bool again = what.program == child_command{}.program;
  std::vector<std::string> argument_text{again ? "millrace" : what.program};
  argument_text.insert(argument_text.end(), what.arguments.begin(), what.arguments.end());
  std::vector<std::string> environment_text;
  for (char** entry = environ; *entry; ++entry) {
    const std::string text = *entry;
    if (!what.environment.contains(text.substr(0, text.find('='))))
      environment_text.push_back(text);
  }
  for (const auto& [name, value] : what.environment)
    environment_text.push_back(name + "=" + value);
  const auto argv = pointers(argument_text);
  const auto envp = pointers(environment_text);

  const pid_t parent = getpid();
  std::unique_lock lock(mutex_);
  const no_signals quiet; // a signal that finds the child on its way waits until the child leaves it to others
  const pid_t pid = fork();
  if (pid < 0)
    throw input_error(std::string("cannot start a process: ") + std::strerror(errno));
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
      _exit(127);
    leave_stopping_to_others();
    if (what.input >= 0)
      dup2(what.input, STDIN_FILENO);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    execve(what.program.c_str(), argv.data(), envp.data());
    _exit(127);
  }
  const int fd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  running_.emplace(pid, fd);
  lock.unlock();
  [[maybe_unused]] const auto written = write(wake_[1], "x", 1);
  return pid;
}

void child_processes::signal(pid_t child, int number) {
  const std::lock_guard lock(mutex_);
  if (running_.contains(child))
    kill(child, number);
}

bool child_processes::wait_all(double timeout_s) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::duration<double>(timeout_s), [this] { return running_.empty(); });
}

void child_processes::watch() {
  for (;;) {
    std::vector<pollfd> watched{{wake_[0], POLLIN, 0}};
    std::vector<pid_t> pids{0};
    {
      const std::lock_guard lock(mutex_);
      if (closing_)
        return;
      for (const auto& [pid, fd] : running_) {
        watched.push_back({fd, POLLIN, 0});
        pids.push_back(pid);
      }
    }
    if (poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR)
      return;
    if (watched[0].revents) {
      char drained[16];
      [[maybe_unused]] const auto count = read(wake_[0], drained, sizeof drained);
    }
    for (std::size_t i = 1; i < watched.size(); ++i) {
      if (!watched[i].revents)
        continue;
      int status = 0;
      if (waitpid(pids[i], &status, 0) != pids[i])
        continue;
      close(watched[i].fd);
      on_exit_({pids[i], describe(status), WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status)});
      const std::lock_guard lock(mutex_);
      running_.erase(pids[i]);
      changed_.notify_all();
    }
  }
}

} // namespace millrace::cluster
