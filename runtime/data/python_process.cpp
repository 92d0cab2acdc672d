#include "runtime/data/python_process.hpp"

#include "runtime/words/input_error.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

namespace millrace::data {
namespace {

constexpr int script_socket = 3;

std::string ending(int status) {
  if (WIFSIGNALED(status))
    return "it died of signal " + std::to_string(WTERMSIG(status)) + " (" + strsignal(WTERMSIG(status)) + ")";
  return "it ended with status " + std::to_string(WEXITSTATUS(status));
}

/// Starts it in a process group of its own: an interrupt from the terminal is for the run to answer.
int spawn(pid_t& pid, const std::string& python, std::vector<std::string> words, int socket) {
  std::vector<char*> arguments;
  for (auto& word : words)
    arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&files, 2, 1);
  posix_spawn_file_actions_adddup2(&files, socket, script_socket);
  posix_spawn_file_actions_addclosefrom_np(&files, script_socket + 1);
  posix_spawnattr_t how;
  posix_spawnattr_init(&how);
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawnattr_setsigmask(&how, &none);
  posix_spawnattr_setsigdefault(&how, &all);
  posix_spawnattr_setpgroup(&how, 0);
  posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP);
  const int error = posix_spawnp(&pid, python.c_str(), &files, &how, arguments.data(), environ);
  posix_spawnattr_destroy(&how);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

} // namespace

python_process::python_process(const std::string& python, const std::string& script,
                               const std::vector<std::string>& arguments, std::chrono::milliseconds patience)
    : patience_(patience) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw input_error("cannot start " + python + ": " + std::strerror(errno));
  // A descriptor that is copied onto itself would keep its close-on-exec.
  if (ends[1] == script_socket) {
    ends[1] = ::fcntl(script_socket, F_DUPFD_CLOEXEC, script_socket + 1);
    ::close(script_socket);
  }
  std::vector<std::string> words{python, "-c", script};
  words.insert(words.end(), arguments.begin(), arguments.end());
  const int error = spawn(pid_, python, std::move(words), ends[1]);
  ::close(ends[1]);
  if (error != 0) {
    ::close(ends[0]);
    throw input_error("cannot start " + python + ": " + std::strerror(error));
  }
  socket_ = ends[0];
  ::fcntl(socket_, F_SETFL, O_NONBLOCK);
}

python_process::~python_process() {
  ::close(socket_);
  if (pid_ > 0) {
    ::kill(-pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
}

void python_process::lost() {
  // Its socket is closed: it is ending. One that goes on all the same is ended.
  constexpr int grace_ms = 1000;
  const int end = static_cast<int>(::syscall(SYS_pidfd_open, pid_, 0));
  pollfd watched{end, POLLIN, 0};
  if (::poll(&watched, 1, grace_ms) != 1)
    ::kill(-pid_, SIGKILL);
  ::close(end);
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  throw process_lost(ending(status));
}

void python_process::wait_for(short events) {
  pollfd watched{socket_, events, 0};
  const auto until = std::chrono::steady_clock::now() + patience_;
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now());
    if (left.count() <= 0)
      throw process_lost("it gave no answer within " + std::to_string(patience_.count()) + " ms");
    if (::poll(&watched, 1, static_cast<int>(left.count())) > 0)
      return;
  }
}

void python_process::send(std::string_view bytes) {
  while (!bytes.empty()) {
    wait_for(POLLOUT);
    const auto sent = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0)
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    else if (errno != EAGAIN && errno != EINTR)
      lost();
  }
}

void python_process::fill() {
  char block[1 << 16];
  for (;;) {
    wait_for(POLLIN);
    const auto got = ::recv(socket_, block, sizeof block, 0);
    if (got > 0) {
      buffer_.append(block, static_cast<std::size_t>(got));
      return;
    }
    if (got == 0 || (errno != EAGAIN && errno != EINTR))
      lost();
  }
}

std::string python_process::line() {
  std::size_t end = 0;
  while ((end = buffer_.find('\n')) == std::string::npos)
    fill();
  std::string taken = buffer_.substr(0, end);
  buffer_.erase(0, end + 1);
  return taken;
}

std::string python_process::bytes(std::size_t count) {
  while (buffer_.size() < count)
    fill();
  std::string taken = buffer_.substr(0, count);
  buffer_.erase(0, count);
  return taken;
}

} // namespace millrace::data
