#include "runtime/workers/worker_process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace millrace::workers {
namespace {

constexpr std::size_t longest_message = std::size_t{64} << 20;
constexpr int frames_descriptor = 3;

std::string system_words(const std::string& what) {
  return what + ": " + std::strerror(errno);
}

/// What the child does between fork and exec: calls that are safe there, and nothing that allocates.
[[noreturn]] void become(char* const* arguments, const worker_command& command, int socket, pid_t parent) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent)
    _exit(127);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  for (const int number : {SIGPIPE, SIGTERM, SIGUSR1}) // this process may ignore them; what the child starts must not
    signal(number, SIG_DFL);
  if (command.memory_bytes > 0) {
    const rlimit most{static_cast<rlim_t>(command.memory_bytes), static_cast<rlim_t>(command.memory_bytes)};
    setrlimit(RLIMIT_DATA, &most);
  }
  const rlimit no_core{0, 0};
  setrlimit(RLIMIT_CORE, &no_core);
  if (command.frames == framing::line) {
    dup2(socket, STDIN_FILENO);
    dup2(socket, STDOUT_FILENO);
  } else {
    const int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    dup2(STDERR_FILENO, STDOUT_FILENO);
    if (socket == frames_descriptor)
      fcntl(socket, F_SETFD, 0);
    else
      dup2(socket, frames_descriptor);
  }
  execvp(arguments[0], arguments);
  _exit(127);
}

} // namespace

worker_process::worker_process(const worker_command& command) : frames_(command.frames) {
  auto texts = command.arguments; // everything that allocates happens before fork
  std::vector<char*> arguments;
  for (auto& text : texts)
    arguments.push_back(text.data());
  arguments.push_back(nullptr);
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    throw worker_failure(failure_kind::refused, system_words("cannot make a socket"));
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0)
    become(arguments.data(), command, ends[1], parent);
  const int error = errno;
  close(ends[1]);
  socket_ = ends[0];
  if (pid_ < 0) {
    close(socket_);
    errno = error;
    throw worker_failure(failure_kind::refused, system_words("cannot start a process"));
  }
  setpgid(pid_, pid_); // whichever of the two comes first
  process_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  fcntl(socket_, F_SETFL, fcntl(socket_, F_GETFL) | O_NONBLOCK);
}

worker_process::~worker_process() {
  kill(-pid_, SIGKILL);
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  close(process_);
  close(socket_);
}

void worker_process::ended() {
  siginfo_t how{};
  waitid(P_PID, static_cast<id_t>(pid_), &how, WEXITED | WNOHANG | WNOWAIT);
  if (how.si_pid == 0)
    throw worker_failure(failure_kind::crash, "the process closed its side");
  if (how.si_code != CLD_EXITED)
    throw worker_failure(failure_kind::crash, std::string("the process ended by signal ")
                                                  + std::to_string(how.si_status) + " (" + strsignal(how.si_status)
                                                  + ")");
  throw worker_failure(how.si_status == 127 ? failure_kind::refused : failure_kind::crash,
                       how.si_status == 127 ? "the program cannot be started (exit status 127)"
                                            : "the process ended with exit status " + std::to_string(how.si_status));
}

bool worker_process::wait_for(short events, time_point until, int wake) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - std::chrono::steady_clock::now()).count();
    if (left <= 0)
      throw worker_failure(failure_kind::timeout, "no reply before the deadline");
    pollfd watched[]{{socket_, events, 0}, {process_, POLLIN, 0}, {wake, POLLIN, 0}};
    const int ready = poll(watched, wake < 0 ? 2 : 3, static_cast<int>(std::min<decltype(left)>(left, 1 << 20)));
    if (ready < 0 && errno != EINTR)
      throw worker_failure(failure_kind::crash, system_words("poll"));
    if (ready > 0 && watched[0].revents != 0)
      return true;
    if (ready > 0 && watched[1].revents != 0)
      ended();
    if (ready > 0 && watched[2].revents != 0)
      return false;
  }
}

void worker_process::send(std::string_view message, time_point until) {
  std::string bytes;
  bytes.reserve(message.size() + 4);
  if (frames_ == framing::length)
    for (int shift = 0; shift < 32; shift += 8)
      bytes += static_cast<char>((message.size() >> shift) & 0xff);
  bytes += message;
  if (frames_ == framing::line)
    bytes += '\n';
  for (std::size_t sent = 0; sent < bytes.size();) {
    const auto count = ::send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (count >= 0)
      sent += static_cast<std::size_t>(count);
    else if (errno == EAGAIN)
      wait_for(POLLOUT, until);
    else if (errno != EINTR)
      ended();
  }
}

bool worker_process::take(std::string& message) {
  if (frames_ == framing::line) {
    const auto end = received_.find('\n');
    if (end == std::string::npos)
      return false;
    message = received_.substr(0, end);
    received_.erase(0, end + 1);
    return true;
  }
  if (received_.size() < 4)
    return false;
  std::size_t length = 0;
  for (int i = 3; i >= 0; --i)
    length = length << 8 | static_cast<unsigned char>(received_[static_cast<std::size_t>(i)]);
  if (length > longest_message)
    throw worker_failure(failure_kind::malformed, "a reply of " + std::to_string(length) + " bytes, want at most "
                                                      + std::to_string(longest_message));
  if (received_.size() < 4 + length)
    return false;
  message = received_.substr(4, length);
  received_.erase(0, 4 + length);
  return true;
}

bool worker_process::read_some() {
  if (received_.size() > longest_message + 4)
    throw worker_failure(failure_kind::malformed, "a reply of more than " + std::to_string(longest_message) + " bytes");
  char bytes[65536];
  const auto count = ::recv(socket_, bytes, sizeof bytes, 0);
  if (count > 0)
    received_.append(bytes, static_cast<std::size_t>(count));
  else if (count < 0 && errno == EAGAIN)
    return false;
  else if (count == 0 || errno != EINTR) {
    pollfd gone{process_, POLLIN, 0}; // the socket closes a moment before the process can be asked how it ended
    poll(&gone, 1, 100);
    ended();
  }
  return true;
}

std::string worker_process::receive(time_point until) {
  std::string message;
  while (!take(message))
    if (!read_some())
      wait_for(POLLIN, until);
  return message;
}

std::optional<std::string> worker_process::receive_or_wake(time_point until, int wake) {
  std::string message;
  while (!take(message))
    if (!read_some() && !wait_for(POLLIN, until, wake))
      return std::nullopt;
  return message;
}

} // namespace millrace::workers
