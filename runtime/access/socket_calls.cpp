#include "runtime/access/socket_calls.hpp"

#include "runtime/access/actor_stream.hpp"
#include "runtime/access/checked_streams.hpp"
#include "runtime/access/data_stream.hpp"
#include "runtime/access/frame_judge.hpp"
#include "runtime/access/gloo_stream.hpp"
#include "runtime/access/guarded_port.hpp"
#include "runtime/words/no_signals.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <dlfcn.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <string_view>
#include <thread>

namespace millrace::access {
namespace {

/// How long a connection may take. A host that is gone answers nothing, and the caller's thread waits.
constexpr int connect_patience_ms = 3'000;

/// How long a range of ports may be full. A port that this process has closed is free a moment later.
constexpr std::chrono::milliseconds full_range_patience{1'000};

template <class Function>
Function* in_libc(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

/// The C library's own functions: looked up at the first call, which may come before this file's statics exist.
struct libc_calls {
  int (*bind)(int, const sockaddr*, socklen_t) = in_libc<int(int, const sockaddr*, socklen_t)>("bind");
  int (*listen)(int, int) = in_libc<int(int, int)>("listen");
  int (*accept)(int, sockaddr*, socklen_t*) = in_libc<int(int, sockaddr*, socklen_t*)>("accept");
  int (*connect)(int, const sockaddr*, socklen_t) = in_libc<int(int, const sockaddr*, socklen_t)>("connect");
  int (*getsockname)(int, sockaddr*, socklen_t*) = in_libc<int(int, sockaddr*, socklen_t*)>("getsockname");
};

const libc_calls& libc() {
  static const libc_calls calls;
  return calls;
}

thread_local guard_data* data = nullptr;
thread_local guard_ranks* ranks = nullptr;

/// The guarded ports of this process and the thread that serves them. It lives as long as the process.
class port_guard {
public:
  static port_guard& own() {
    static auto* const guard = new port_guard;
    return *guard;
  }

  void actor_keys(std::vector<key256> keys) {
    const std::lock_guard lock(mutex_);
    actor_keys_ = std::move(keys);
  }

  std::vector<key256> actor_keys() const {
    const std::lock_guard lock(mutex_);
    return actor_keys_;
  }

  void teller(refusals::teller tell) {
    const std::lock_guard lock(mutex_);
    tell_ = std::move(tell);
  }

  /// @param real the socket to guard, which listens; owned from here on, also in a failure
  /// @returns 0, or -1 with errno, as listen does
  int guard(int library_end, int real, std::vector<key256> keys);

  /// A port that a library has opened.
  struct opened_port {
    int real = -1; ///< the socket behind the library's end
    std::shared_ptr<data_ledger> ledger;
  };

  /// The port behind a library's end. @returns none, whose socket is -1, for any other socket
  opened_port port_of(int library_end) const {
    if (opened_ == 0)
      return {};
    const auto found = socket_inode(library_end);
    const std::lock_guard lock(mutex_);
    const auto at = ports_.find(found);
    return at == ports_.end() ? opened_port{} : at->second;
  }

  std::uint64_t opened() const { return opened_; }

private:
  port_guard() {
    tell_broken_streams([this](const std::string& who, const std::string& why) {
      boost::asio::post(loop_, [this, who, why] { refused_.add(who, why); });
    });
  }

  void serve() {
    const no_signals quiet;
    std::thread([this] {
      pthread_setname_np(pthread_self(), "ports");
      loop_.run();
    }).detach();
  }

  void tell(const std::string& line) const {
    refusals::teller teller;
    {
      const std::lock_guard lock(mutex_);
      teller = tell_;
    }
    if (teller)
      teller(line);
  }

  boost::asio::io_context loop_{1};
  boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_{loop_.get_executor()};
  refusals refused_{loop_, [this](const std::string& line) { tell(line); }};
  mutable std::mutex mutex_;
  std::vector<key256> actor_keys_;
  refusals::teller tell_;
  std::map<ino_t, opened_port> ports_; ///< by the library's end
  std::atomic<std::uint64_t> opened_ = 0;
  std::once_flag served_;
};

int port_guard::guard(int library_end, int real, std::vector<key256> keys) {
  int line[2] = {-1, -1};
  const int flags = ::fcntl(library_end, F_GETFL), descriptor_flags = ::fcntl(library_end, F_GETFD);
  if (real < 0 || ::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, line) != 0
      || ::dup2(line[0], library_end) < 0) {
    const int why = errno;
    for (const int descriptor : {real, line[0], line[1]})
      if (descriptor >= 0)
        ::close(descriptor);
    errno = why;
    return -1;
  }
  ::close(line[0]);
  ::fcntl(library_end, F_SETFL, flags);
  ::fcntl(library_end, F_SETFD, descriptor_flags);
  const auto inode = socket_inode(library_end);
  {
    const std::lock_guard lock(mutex_);
    ports_[inode] = {real, data != nullptr ? data->ledger() : nullptr};
  }
  ++opened_;
  std::call_once(served_, [this] { serve(); });
  boost::asio::post(loop_, [this, inode, ends = guarded_port::ends{real, line[1]}, keys = std::move(keys)] {
    const auto port = std::make_shared<guarded_port>(
        loop_, ends, keys, stranger_limits{},
        [this](const std::string& who, const std::string& why) { refused_.add(who, why); });
    port->open([this, inode] {
      const std::lock_guard lock(mutex_);
      ports_.erase(inode);
    });
  });
  return 0;
}

int closed_with_errno(int descriptor) {
  const int why = errno;
  if (descriptor >= 0)
    ::close(descriptor);
  errno = why;
  return -1;
}

/// The socket of a library's end, listening. @returns -1 with errno if it cannot
int listening(int library_end, int backlog) {
  const int real = ::fcntl(library_end, F_DUPFD_CLOEXEC, 0);
  return real >= 0 && libc().listen(real, backlog) == 0 ? real : closed_with_errno(real);
}

/// A socket that listens on a port, at the address of a library's end. @returns -1 with errno if it cannot
int listening_at(int library_end, std::uint16_t port, int backlog) {
  sockaddr_storage where{};
  socklen_t size = sizeof where;
  if (libc().getsockname(library_end, reinterpret_cast<sockaddr*>(&where), &size) != 0)
    return -1;
  (where.ss_family == AF_INET ? reinterpret_cast<sockaddr_in*>(&where)->sin_port
                              : reinterpret_cast<sockaddr_in6*>(&where)->sin6_port) = htons(port);
  const int made = ::socket(where.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), reuse = 1;
  ::setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
  return made >= 0 && libc().bind(made, reinterpret_cast<const sockaddr*>(&where), size) == 0
                 && libc().listen(made, backlog) == 0
             ? made
             : closed_with_errno(made);
}

/// The same, on the first port of a range that is free. Two that look at once do not get the same port: only one of
/// them can listen there.
int listening_within(int library_end, const std::array<std::uint16_t, 2>& ports, int backlog) {
  const auto deadline = std::chrono::steady_clock::now() + full_range_patience;
  for (;;) {
    for (int port = ports[0]; port <= ports[1]; ++port)
      if (const int made = listening_at(library_end, static_cast<std::uint16_t>(port), backlog);
          made >= 0 || errno != EADDRINUSE)
        return made;
    if (std::chrono::steady_clock::now() >= deadline)
      return -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
}

enum class library { other, ucx, gloo, caf };

library library_of(const void* caller) {
  Dl_info about{};
  if (::dladdr(caller, &about) == 0 || about.dli_fname == nullptr)
    return library::other;
  const std::string_view path = about.dli_fname;
  const auto name = path.substr(path.rfind('/') + 1);
  return name.starts_with("libucs.so")         ? library::ucx
         : name.starts_with("libtorch_cpu.so") ? library::gloo
         : name.starts_with("libcaf_io.so")    ? library::caf
                                               : library::other;
}

/// The keys of a call that comes from `caller`. @returns none: it is no business of ours
std::vector<key256> keys_of(library caller) {
  if (caller == library::ucx && data != nullptr)
    return {data->key()};
  if (caller == library::gloo && ranks != nullptr)
    return {ranks->key()};
  if (caller == library::caf)
    return port_guard::own().actor_keys();
  return {};
}

std::vector<key256> keys_of(const void* caller) {
  return keys_of(library_of(caller));
}

/// What stands inside the frames of a data plane's connection is judged where their format is known.
std::unique_ptr<frame_judge> judge_of(int descriptor, bool accepted, std::shared_ptr<data_ledger> ledger) {
  if (!ledger)
    return nullptr;
  frame_judge::ends about{.accepted = accepted, .own = {}, .other = {}};
  socklen_t own = sizeof about.own, other = sizeof about.other;
  libc().getsockname(descriptor, reinterpret_cast<sockaddr*>(&about.own), &own);
  ::getpeername(descriptor, reinterpret_cast<sockaddr*>(&about.other), &other);
  return std::make_unique<frame_judge>(std::move(ledger), about);
}

/// What comes over a proven connection is checked where its library would believe it.
void check_what_comes(int descriptor, library reader, bool accepted, std::shared_ptr<data_ledger> ledger) {
  if (reader == library::caf)
    check_stream(descriptor, std::make_unique<actor_stream>(accepted));
  else if (reader == library::gloo)
    check_stream(descriptor, std::make_unique<gloo_stream>(accepted));
  else if (reader == library::ucx)
    check_stream(descriptor, std::make_unique<data_stream>(accepted, is_room_for_data,
                                                           judge_of(descriptor, accepted, std::move(ledger))));
}

bool is_internet_stream(int descriptor) {
  int domain = 0, type = 0;
  socklen_t size = sizeof domain;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0 || (domain != AF_INET && domain != AF_INET6))
    return false;
  size = sizeof type;
  return ::getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM;
}

/// Connects within the patience and shows the proof. @returns 0, or -1 with errno, as connect does
int connect_with_proof(int descriptor, const sockaddr* to, socklen_t bytes, const key256& key) {
  const int flags = ::fcntl(descriptor, F_GETFL);
  ::fcntl(descriptor, F_SETFL, flags | O_NONBLOCK);
  int error = libc().connect(descriptor, to, bytes) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    pollfd wait{descriptor, POLLOUT, 0};
    int ready = 0;
    do
      ready = ::poll(&wait, 1, connect_patience_ms);
    while (ready < 0 && errno == EINTR);
    socklen_t size = sizeof error;
    if (ready == 0)
      error = ETIMEDOUT;
    else if (ready < 0 || ::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
      error = errno;
  }
  if (error == 0) {
    // A fresh connection has room for it.
    const auto shown = make_proof(key, place_of(to));
    if (::send(descriptor, shown.data(), shown.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(shown.size()))
      error = ECONNRESET;
  }
  ::fcntl(descriptor, F_SETFL, flags);
  errno = error;
  return error == 0 ? 0 : -1;
}

/// The next proven connection. @returns its descriptor, or -1 with errno, as accept does
int accept_proven(int library_end, sockaddr* from, socklen_t* bytes) {
  for (;;) {
    int number = -1;
    const auto got = ::recv(library_end, &number, sizeof number, 0);
    if (got != sizeof number) {
      errno = got < 0 ? errno : EINVAL;
      return -1;
    }
    sockaddr_storage peer{};
    socklen_t size = sizeof peer;
    if (::getpeername(number, reinterpret_cast<sockaddr*>(&peer), &size) == 0) {
      if (from != nullptr && bytes != nullptr) {
        std::memcpy(from, &peer, std::min(size, *bytes));
        *bytes = size;
      }
      return number;
    }
    ::close(number); // it has gone meanwhile
  }
}

} // namespace

void guard_actors(std::vector<key256> keys) {
  port_guard::own().actor_keys(std::move(keys));
}

guard_data::guard_data(const key256& key, std::shared_ptr<data_ledger> ledger)
    : key_(key), ledger_(std::move(ledger)), before_(data) {
  data = this;
}

guard_data::~guard_data() {
  data = before_;
}

guard_ranks::guard_ranks(const key256& key, std::array<std::uint16_t, 2> ports)
    : key_(key), ports_(ports), before_(ranks) {
  ranks = this;
}

guard_ranks::~guard_ranks() {
  ranks = before_;
}

std::uint64_t guarded_ports() {
  return port_guard::own().opened();
}

void tell_refusals(refusals::teller tell) {
  port_guard::own().teller(std::move(tell));
}

} // namespace millrace::access

// The program's symbols come before a library's: CAF, UCX and Gloo call these five.

extern "C" int bind(int descriptor, const sockaddr* where, socklen_t bytes) noexcept {
  using namespace millrace::access;
  if (const int reuse = 1; !keys_of(__builtin_return_address(0)).empty() && is_internet_stream(descriptor))
    ::setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
  return libc().bind(descriptor, where, bytes);
}

extern "C" int listen(int descriptor, int backlog) noexcept {
  using namespace millrace::access;
  auto keys = keys_of(__builtin_return_address(0));
  if (keys.empty() || !is_internet_stream(descriptor))
    return libc().listen(descriptor, backlog);
  const int real = ranks != nullptr && ranks->ports()[1] > 0 ? listening_within(descriptor, ranks->ports(), backlog)
                                                             : listening(descriptor, backlog);
  const int result = port_guard::own().guard(descriptor, real, std::move(keys));
  sockaddr_storage port{};
  socklen_t size = sizeof port;
  if (result == 0 && ranks != nullptr && ::getsockname(descriptor, reinterpret_cast<sockaddr*>(&port), &size) == 0)
    ranks->opened(port);
  return result;
}

extern "C" int accept(int descriptor, sockaddr* from, socklen_t* bytes) {
  using namespace millrace::access;
  auto port = port_guard::own().port_of(descriptor);
  if (port.real < 0)
    return libc().accept(descriptor, from, bytes);
  const int taken = accept_proven(descriptor, from, bytes);
  if (taken >= 0)
    check_what_comes(taken, library_of(__builtin_return_address(0)), true, std::move(port.ledger));
  return taken;
}

extern "C" int connect(int descriptor, const sockaddr* to, socklen_t bytes) {
  using namespace millrace::access;
  const auto caller = library_of(__builtin_return_address(0));
  const auto keys = keys_of(caller);
  if (keys.empty() || !is_internet_stream(descriptor))
    return libc().connect(descriptor, to, bytes);
  const int result = connect_with_proof(descriptor, to, bytes, keys.front());
  if (result == 0)
    check_what_comes(descriptor, caller, false, data != nullptr ? data->ledger() : nullptr);
  return result;
}

extern "C" int getsockname(int descriptor, sockaddr* own, socklen_t* bytes) noexcept {
  using namespace millrace::access;
  const int real = port_guard::own().port_of(descriptor).real;
  return libc().getsockname(real < 0 ? descriptor : real, own, bytes);
}
