#include "runtime/sandbox/sandboxed_process.hpp"

#include "runtime/sandbox/bubblewrap_words.hpp"
#include "runtime/sandbox/sandbox.hpp"
#include "runtime/words/no_signals.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstring>

namespace millrace::sandbox {
namespace {

using steady = std::chrono::steady_clock;

/// Of the users that nobody has, which systemd lends to services in the same way.
constexpr uid_t first_user = 61184, users = 4000;

constexpr rlim_t open_files = 64;

/// What the child needs between vfork and exec. It has this memory, and its parent waits: nothing here may allocate.
struct start_plan {
  char* const* words;
  char* const* environment;
  int ends[6]; ///< what becomes the descriptors 0 to 5
  const job* what;
  bool is_root;
  uid_t user; ///< whom root becomes
  pid_t parent;
  int error;          ///< the child's errno, where it got no further
  const char* failed; ///< what it tried then
};

[[noreturn]] void give_up(start_plan& plan, const char* what) {
  plan.error = errno;
  plan.failed = what;
  _exit(127);
}

void limit(int which, std::int64_t most) {
  const rlimit both{static_cast<rlim_t>(most), static_cast<rlim_t>(most)};
  setrlimit(static_cast<__rlimit_resource>(which), &both);
}

void limit_all(const bounds& most) {
  limit(RLIMIT_AS, most.memory_bytes);
  limit(RLIMIT_FSIZE, most.file_bytes);
  limit(RLIMIT_NOFILE, open_files);
  limit(RLIMIT_CPU, std::chrono::ceil<std::chrono::seconds>(most.time).count() + 1);
  limit(RLIMIT_CORE, 0);
  limit(RLIMIT_MSGQUEUE, 0);
  limit(RLIMIT_MEMLOCK, 0);
}

/// Root becomes the slot's user: the system would not count root's processes. The system's own calls: the library's
/// would change all threads of this process.
void become_user(start_plan& plan) {
  syscall(SYS_setgroups, 0, nullptr);
  // A user that this namespace does not have: then this root is not the one that the system does not count.
  if (syscall(SYS_setresgid, plan.user, plan.user, plan.user) != 0 && errno != EINVAL)
    give_up(plan, "cannot change the group");
  if (syscall(SYS_setresuid, plan.user, plan.user, plan.user) != 0 && errno != EINVAL)
    give_up(plan, "cannot change the user");
}

/// When memory is short, the system ends the program and not the run. The system's own close: this program counts its
/// closes (`runtime/access/checked_streams.cpp`), and this is not its descriptor.
void offer_to_be_killed() {
  const int file = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (write(file, "1000", 4) < 0) {
  } // as far as the system lets it
  syscall(SYS_close, file);
}

[[noreturn]] void become_bubblewrap(start_plan& plan) {
  setpgid(0, 0);
  offer_to_be_killed();
  constexpr int count = static_cast<int>(std::size(start_plan{}.ends));
  for (int& end : plan.ends)
    if ((end = fcntl(end, F_DUPFD, count)) < 0)
      give_up(plan, "cannot copy a descriptor");
  for (int i = 0; i < count; ++i)
    dup2(plan.ends[i], i);
  if (close_range(count, ~0U, 0) != 0)
    give_up(plan, "cannot close descriptors");
  if (plan.is_root)
    become_user(plan);
  prctl(PR_SET_PDEATHSIG, SIGKILL); // a change of the user would take it back
  if (getppid() != plan.parent)
    _exit(127);
  umask(022);
  if (chdir("/") != 0)
    give_up(plan, "cannot change to /");
  for (int number = 1; number < NSIG; ++number)
    signal(number, SIG_DFL); // handlers must not run in here
  limit_all(plan.what->most);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(plan.words[0], plan.words, plan.environment);
  give_up(plan, "cannot start bubblewrap");
}

/// Not fork: it would copy the tables of all memory of a process that may hold a model, and every page of it would have
/// to be taken in possession again by whoever writes there.
[[gnu::noinline]] pid_t start_child(start_plan& plan) {
  const pid_t child = vfork();
  if (child == 0)
    become_bubblewrap(plan);
  return child;
}

pid_t start_with_signals_blocked(start_plan& plan) {
  const no_signals quiet;
  return start_child(plan);
}

std::vector<char*> pointers_to(std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (std::string& text : texts)
    pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

sandbox_failure refused(const std::string& what, int error) {
  return {failure_kind::refused, what + ": " + std::strerror(error)};
}

/// A pipe, or two sockets. @returns ours and the child's end
std::pair<descriptor, descriptor> two_ends(bool sockets, bool we_read) {
  int ends[2];
  if ((sockets ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) : pipe2(ends, O_CLOEXEC)) != 0)
    throw refused("cannot make a pipe", errno);
  const int ours = ends[we_read ? 0 : 1], theirs = ends[we_read ? 1 : 0];
  fcntl(ours, F_SETFL, fcntl(ours, F_GETFL) | O_NONBLOCK);
  return {descriptor(ours), descriptor(theirs)};
}

descriptor pidfd_of(pid_t process) {
  return descriptor(static_cast<int>(syscall(SYS_pidfd_open, process, 0)));
}

/// The number after `"name":` in what bubblewrap says. @returns -1 where there is none
int number_after(const std::string& said, const std::string& name) {
  const auto at = said.find("\"" + name + "\": ");
  int number = -1;
  if (at != std::string::npos)
    std::from_chars(said.data() + at + name.size() + 4, said.data() + said.size(), number);
  return number;
}

} // namespace

sandboxed_process::sandboxed_process(const std::vector<std::string>& words, const std::string& filter, const job& what,
                                     std::size_t slot)
    : job_(what) {
  auto texts = words;
  std::vector<std::string> surroundings{"PATH=/usr/bin:/bin"};
  const auto arguments = pointers_to(texts), environment = pointers_to(surroundings);
  auto input = two_ends(true, false), gate = two_ends(true, true), filter_pipe = two_ends(false, false);
  auto out = two_ends(false, true), err = two_ends(false, true), status = two_ends(false, true);
  if (write(filter_pipe.first.number(), filter.data(), filter.size()) != std::ssize(filter))
    throw sandbox_failure(failure_kind::refused, "the seccomp filter does not fit into a pipe");
  filter_pipe.first.close();
  start_plan plan{.words = arguments.data(),
                  .environment = environment.data(),
                  .ends = {input.second.number(), out.second.number(), err.second.number(), status.second.number(),
                           gate.second.number(), filter_pipe.second.number()},
                  .what = &what,
                  .is_root = geteuid() == 0,
                  .user = first_user + static_cast<uid_t>(slot % users),
                  .parent = getpid(),
                  .error = 0,
                  .failed = nullptr};
  outer_ = start_with_signals_blocked(plan);
  if (outer_ < 0)
    throw refused("cannot start a process", errno);
  if (plan.failed) {
    waitpid(outer_, nullptr, 0);
    throw refused(plan.failed, plan.error);
  }
  outer_end_ = pidfd_of(outer_);
  input_ = std::move(input.first);
  out_ = std::move(out.first);
  err_ = std::move(err.first);
  status_ = std::move(status.first);
  gate_ = std::move(gate.first);
}

sandboxed_process::~sandboxed_process() {
  if (outer_ < 0)
    return;
  if (inner_.number() >= 0) {
    kill_it(bound::none);
    pollfd ended{outer_end_.number(), POLLIN, 0};
    poll(&ended, 1, static_cast<int>(std::chrono::milliseconds(sandbox::start_up).count()));
  }
  // Until the program runs, process 1 is in bubblewrap's group.
  kill(-outer_, SIGKILL);
  waitpid(outer_, nullptr, 0);
}

bool sandboxed_process::wait(time_point until, const std::vector<descriptor*>& readable, descriptor* writable) {
  std::vector<pollfd> watched{{outer_end_.number(), POLLIN, 0}};
  for (const descriptor* one : readable)
    watched.push_back({one->number(), POLLIN, 0});
  if (writable)
    watched.push_back({writable->number(), POLLOUT, 0});
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - steady::now()).count();
  const auto patience = std::clamp<decltype(left)>(left, 0, 1 << 20);
  return poll(watched.data(), watched.size(), static_cast<int>(patience)) > 0 && watched[0].revents != 0;
}

void sandboxed_process::take(descriptor& from, std::string& into, std::size_t most) {
  char bytes[65536];
  while (from.number() >= 0) {
    const auto count = read(from.number(), bytes, sizeof bytes);
    if (count < 0 && errno == EINTR)
      continue;
    if (count < 0 && errno == EAGAIN)
      return;
    if (count > 0)
      into.append(bytes, static_cast<std::size_t>(count));
    if (count <= 0 || into.size() > most)
      from.close();
  }
}

void sandboxed_process::failed() {
  take(err_, found_.err, 4096);
  const auto line = found_.err.substr(0, found_.err.find('\n'));
  throw sandbox_failure(failure_kind::refused, line.empty() ? "bubblewrap ended before the program" : line);
}

void sandboxed_process::wait_for_id(time_point until) {
  while (said_.find('\n') == std::string::npos) {
    const bool ended = wait(until, {&status_, &err_}, nullptr);
    take(status_, said_, 4096);
    take(err_, found_.err, 4096);
    if (ended || status_.number() < 0)
      failed();
    if (steady::now() >= until)
      throw sandbox_failure(failure_kind::timeout, "bubblewrap takes too long to start");
  }
  // It waits at the gate or fails before: as long as bubblewrap has not ended, the number is nobody else's.
  inner_ = pidfd_of(number_after(said_, "child-pid"));
  if (inner_.number() < 0)
    failed();
}

void sandboxed_process::wait_for_gate(time_point until) {
  send(gate_.number(), "g", 1, MSG_NOSIGNAL);
  char nothing;
  while (recv(gate_.number(), &nothing, 1, MSG_DONTWAIT) != 0) {
    if (wait(until, {&gate_, &err_}, nullptr))
      failed();
    take(err_, found_.err, 4096);
    if (steady::now() >= until)
      throw sandbox_failure(failure_kind::timeout, "bubblewrap takes too long to make a sandbox");
  }
}

void sandboxed_process::start(time_point until) {
  wait_for_id(until);
  wait_for_gate(until);
  started_ = steady::now();
}

void sandboxed_process::feed() {
  while (input_.number() >= 0 && fed_ < job_.input.size()) {
    const auto count = send(input_.number(), job_.input.data() + fed_, job_.input.size() - fed_, MSG_NOSIGNAL);
    if (count < 0 && errno == EAGAIN)
      return;
    if (count < 0 && errno != EINTR)
      break; // it reads no further
    if (count > 0)
      fed_ += static_cast<std::size_t>(count);
  }
  input_.close();
}

void sandboxed_process::kill_it(bound why) {
  found_.hit = why;
  syscall(SYS_pidfd_send_signal, inner_.number(), SIGKILL, nullptr, 0);
}

outcome sandboxed_process::finish() {
  const auto most = static_cast<std::size_t>(job_.most.output_bytes);
  auto until = started_ + job_.most.time;
  for (bool ended = false; !ended;) {
    feed();
    ended = wait(until, {&out_, &err_, &status_}, &input_);
    take(out_, found_.out, most);
    take(err_, found_.err, most);
    take(status_, said_, 4096);
    const bool late = steady::now() >= until, too_long = found_.out.size() > most || found_.err.size() > most;
    if (!ended && found_.hit == bound::none && (late || too_long)) {
      kill_it(too_long ? bound::output : bound::time);
      until = steady::now() + sandbox::start_up;
    } else if (!ended && late) {
      throw sandbox_failure(failure_kind::timeout, "a program that was killed does not end");
    }
  }
  int status = 0;
  rusage used{};
  wait4(outer_, &status, 0, &used);
  outer_ = -1;
  found_.wall = std::chrono::duration_cast<std::chrono::microseconds>(steady::now() - started_);
  found_.cpu = std::chrono::seconds(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
               + std::chrono::microseconds(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
  found_.status = found_.hit == bound::none ? number_after(said_, "exit-code") : 128 + SIGKILL;
  if (found_.status < 0)
    failed();
  if (found_.hit == bound::none && (found_.out.size() > most || found_.err.size() > most))
    found_.hit = bound::output;
  if (found_.hit == bound::none && found_.status == 128 + SIGKILL && found_.cpu >= job_.most.time)
    found_.hit = bound::time;
  found_.out.resize(std::min(found_.out.size(), most));
  found_.err.resize(std::min(found_.err.size(), most));
  return std::move(found_);
}

} // namespace millrace::sandbox
