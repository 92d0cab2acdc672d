#include "runtime/access/checked_streams.hpp"

#include "runtime/access/actor_stream.hpp"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

namespace millrace::access {
namespace {

template <class Function>
Function* next(const char* name) {
  return reinterpret_cast<Function*>(::dlsym(RTLD_NEXT, name));
}

std::string name_of(int descriptor) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  char text[INET6_ADDRSTRLEN] = {};
  if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&peer), &size) != 0)
    return "a connection";
  const bool v6 = peer.ss_family == AF_INET6;
  const auto* four = reinterpret_cast<const sockaddr_in*>(&peer);
  const auto* six = reinterpret_cast<const sockaddr_in6*>(&peer);
  ::inet_ntop(peer.ss_family, v6 ? static_cast<const void*>(&six->sin6_addr) : &four->sin_addr, text, sizeof text);
  return std::string(text) + ":" + std::to_string(ntohs(v6 ? six->sin6_port : four->sin_port));
}

/// How often each descriptor has been closed: whoever finds it unchanged needs no system call to know its socket again.
/// A child between vfork and exec must not count here: its descriptors are its own.
constinit std::array<std::atomic<std::uint32_t>, 1 << 16> closings{};

/// The connections of this process that are checked. It lives as long as the process.
class checked_streams {
public:
  static checked_streams& own() {
    static auto* const all = new checked_streams;
    return *all;
  }

  void add(int descriptor, std::unique_ptr<stream_check> check) {
    const auto made = std::make_shared<stream>(descriptor, std::move(check));
    {
      const std::lock_guard lock(mutex_);
      if (streams_.size() >= sweep_at_) {
        forget_closed();
        sweep_at_ = std::max<std::size_t>(64, 2 * streams_.size());
      }
      auto& at = streams_[descriptor];
      if (at)
        promise(*at, 0);
      at = made;
    }
    any_ = true;
    if (made->check->listens_to_own())
      any_to_tell_ = true;
    promise(*made, made->check->promised());
    if (promised_ > static_cast<std::int64_t>(longest_message))
      hold_promises();
  }

  void teller(std::function<void(const std::string&, const std::string&)> tell) {
    const std::lock_guard lock(mutex_);
    tell_ = std::move(tell);
  }

  /// One connection. Who reads and who sends holds it meanwhile.
  struct stream {
    stream(int number, std::unique_ptr<stream_check> rules)
        : descriptor(number), check(std::move(rules)), inode(socket_inode(number)) {
      is_open();
    }

    /// Whether nobody has closed the descriptor since it was looked at last.
    bool is_untouched() const {
      const auto at = static_cast<std::size_t>(descriptor);
      return at < closings.size() ? closings[at] == closed_before : socket_inode(descriptor) == inode;
    }

    /// Whether the descriptor still is that of the connection. For who uses it.
    bool is_open() {
      if (is_untouched())
        return true;
      const auto at = static_cast<std::size_t>(descriptor);
      const auto now = at < closings.size() ? closings[at].load() : 0;
      const bool same = socket_inode(descriptor) == inode;
      if (same)
        closed_before = now;
      return same;
    }

    int descriptor;
    std::unique_ptr<stream_check> check; ///< for the one thread that reads
    std::atomic<std::int64_t> promised = 0;
    std::atomic<std::int64_t> heard_ns = std::chrono::steady_clock::now().time_since_epoch().count(); ///< bytes, last
    std::atomic<bool> broken = false;
    const ino_t inode;
    std::atomic<std::uint32_t> closed_before = 0; ///< `closings` when it was looked at last
  };

  /// @returns null for a connection that nobody checks
  std::shared_ptr<stream> find(int descriptor) const { return any_ ? find_open(descriptor) : nullptr; }

  /// The same for what this process sends.
  std::shared_ptr<stream> find_to_tell(int descriptor) const {
    const auto found = any_to_tell_ ? find_open(descriptor) : nullptr;
    return found && found->check->listens_to_own() ? found : nullptr;
  }

  bool may_read(stream& from) {
    if (from.broken)
      return false;
    const auto why = from.check->may_read();
    if (!why.empty())
      give_up(from, why);
    return why.empty();
  }

  bool passes(stream& from, std::span<const std::byte> bytes) {
    if (from.broken)
      return false;
    const auto why = from.check->take(bytes);
    from.heard_ns = std::chrono::steady_clock::now().time_since_epoch().count();
    promise(from, from.check->promised());
    if (!why.empty())
      give_up(from, why);
    else if (promised_ > static_cast<std::int64_t>(longest_message))
      hold_promises();
    return !from.broken;
  }

private:
  std::shared_ptr<stream> find_open(int descriptor) const {
    const std::lock_guard lock(mutex_);
    const auto at = streams_.find(descriptor);
    return at == streams_.end() || !at->second->is_open() ? nullptr : at->second;
  }

  void promise(stream& whose, std::size_t bytes) {
    const auto now = static_cast<std::int64_t>(bytes);
    promised_ += now - whose.promised.exchange(now);
  }

  /// With the lock held. What those had promised who have closed meanwhile is counted no more.
  void forget_closed() {
    std::erase_if(streams_, [](const auto& at) { return !at.second->is_untouched(); });
    std::int64_t sum = 0;
    for (const auto& [descriptor, one] : streams_)
      sum += one->promised;
    promised_ = sum;
  }

  /// Gives up those that have been silent for longest, until the rest is within the bound. Who sends is not among them.
  void hold_promises() {
    std::vector<std::shared_ptr<stream>> open;
    {
      const std::lock_guard lock(mutex_);
      forget_closed();
      for (const auto& [descriptor, one] : streams_)
        if (one->promised > 0)
          open.push_back(one);
    }
    std::int64_t sum = 0;
    std::ranges::sort(open, std::greater(), [](const auto& one) { return one->heard_ns.load(); });
    for (const auto& one : open)
      if (sum += one->promised; sum > static_cast<std::int64_t>(longest_message))
        give_up(*one, "has room for " + std::to_string(one->promised) + " bytes and sends none, while others send");
  }

  void give_up(stream& whose, const std::string& why) {
    whose.broken = true;
    promise(whose, 0);
    const auto who = name_of(whose.descriptor);
    ::shutdown(whose.descriptor, SHUT_RDWR);
    std::function<void(const std::string&, const std::string&)> tell;
    {
      const std::lock_guard lock(mutex_);
      tell = tell_;
    }
    if (tell)
      tell(who, why);
  }

  mutable std::mutex mutex_;
  std::unordered_map<int, std::shared_ptr<stream>> streams_; ///< by descriptor
  std::size_t sweep_at_ = 64;
  std::atomic<std::int64_t> promised_ = 0; ///< by all together
  std::function<void(const std::string&, const std::string&)> tell_;
  std::atomic<bool> any_ = false, any_to_tell_ = false;
};

/// What was sent of some pieces of memory, told to who checks the connection.
void tell(checked_streams::stream& to, std::span<const iovec> pieces, std::size_t sent) {
  for (const auto& piece : pieces) {
    const auto bytes = std::min(sent, piece.iov_len);
    if (bytes > 0)
      to.check->told({static_cast<const std::byte*>(piece.iov_base), bytes});
    sent -= bytes;
  }
}

/// Where data may be written: begin, and end behind it.
struct rooms {
  std::mutex mutex;
  std::multimap<std::uint64_t, std::uint64_t> by_begin;

  static rooms& own() {
    static auto* const all = new rooms;
    return *all;
  }
};

} // namespace

ino_t socket_inode(int descriptor) {
  struct stat about {};

  return ::fstat(descriptor, &about) == 0 && S_ISSOCK(about.st_mode) ? about.st_ino : 0;
}

void check_stream(int descriptor, std::unique_ptr<stream_check> check) {
  checked_streams::own().add(descriptor, std::move(check));
}

bool may_have(int descriptor, std::span<const std::byte> bytes) {
  const auto from = checked_streams::own().find(descriptor);
  return !from || checked_streams::own().passes(*from, bytes);
}

void tell_broken_streams(std::function<void(const std::string&, const std::string&)> tell) {
  checked_streams::own().teller(std::move(tell));
}

room_for_data::room_for_data(const void* begin, std::size_t bytes) {
  const auto from = reinterpret_cast<std::uint64_t>(begin);
  const std::lock_guard lock(rooms::own().mutex);
  at_ = rooms::own().by_begin.emplace(from, from + bytes);
}

room_for_data::~room_for_data() {
  const std::lock_guard lock(rooms::own().mutex);
  rooms::own().by_begin.erase(at_);
}

bool is_room_for_data(std::uint64_t begin, std::uint64_t bytes) {
  const std::lock_guard lock(rooms::own().mutex);
  const auto& all = rooms::own().by_begin;
  for (auto at = all.upper_bound(begin); at != all.begin();)
    if ((--at)->second >= begin && at->second - begin >= bytes)
      return true;
  return false;
}

} // namespace millrace::access

// The program's symbols come before the C library's: CAF, UCX and Gloo call them.

extern "C" int close(int descriptor) {
  using namespace millrace::access;
  static constinit std::atomic<int (*)(int)> real = nullptr;
  if (real == nullptr)
    real = next<int(int)>("close");
  if (const auto at = static_cast<std::size_t>(descriptor); at < closings.size())
    ++closings[at];
  return real.load()(descriptor);
}

extern "C" ssize_t recv(int descriptor, void* into, size_t room, int flags) {
  using millrace::access::checked_streams;
  static auto* const real = millrace::access::next<ssize_t(int, void*, size_t, int)>("recv");
  const auto from = (flags & MSG_PEEK) == 0 ? checked_streams::own().find(descriptor) : nullptr;
  if (!from)
    return real(descriptor, into, room, flags);
  const bool may = checked_streams::own().may_read(*from);
  const auto got = may ? real(descriptor, into, room, flags) : -1;
  if (!may
      || (got > 0
          && !checked_streams::own().passes(*from, {static_cast<const std::byte*>(into), static_cast<size_t>(got)}))) {
    errno = ECONNRESET;
    return -1;
  }
  return got;
}

extern "C" ssize_t send(int descriptor, const void* bytes, size_t count, int flags) {
  using namespace millrace::access;
  static auto* const real = next<ssize_t(int, const void*, size_t, int)>("send");
  const auto sent = real(descriptor, bytes, count, flags);
  if (sent > 0)
    if (const auto to = checked_streams::own().find_to_tell(descriptor)) {
      const iovec piece{const_cast<void*>(bytes), count};
      tell(*to, {&piece, 1}, static_cast<std::size_t>(sent));
    }
  return sent;
}

extern "C" ssize_t sendmsg(int descriptor, const msghdr* what, int flags) {
  using namespace millrace::access;
  static auto* const real = next<ssize_t(int, const msghdr*, int)>("sendmsg");
  const auto sent = real(descriptor, what, flags);
  if (sent > 0)
    if (const auto to = checked_streams::own().find_to_tell(descriptor))
      tell(*to, {what->msg_iov, what->msg_iovlen}, static_cast<std::size_t>(sent));
  return sent;
}

extern "C" ssize_t writev(int descriptor, const iovec* pieces, int count) {
  using namespace millrace::access;
  static auto* const real = next<ssize_t(int, const iovec*, int)>("writev");
  const auto sent = real(descriptor, pieces, count);
  if (sent > 0)
    if (const auto to = checked_streams::own().find_to_tell(descriptor))
      tell(*to, {pieces, static_cast<std::size_t>(count)}, static_cast<std::size_t>(sent));
  return sent;
}
