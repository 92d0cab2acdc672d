#include "runtime/access/checked_streams.hpp"

#include "runtime/access/actor_stream.hpp"

#include <arpa/inet.h>
#include <dlfcn.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <functional>
#include <map>
#include <mutex>
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

/// The connections of this process that are checked. It lives as long as the process.
class checked_streams {
public:
  static checked_streams& own() {
    static auto* const all = new checked_streams;
    return *all;
  }

  void add(int descriptor, std::unique_ptr<stream_check> check) {
    const std::lock_guard lock(mutex_);
    if (streams_.size() >= sweep_at_) {
      forget_closed();
      sweep_at_ = std::max<std::size_t>(64, 2 * streams_.size());
    }
    streams_[socket_inode(descriptor)] = std::make_shared<stream>(descriptor, std::move(check));
    any_ = true;
  }

  void teller(std::function<void(const std::string&, const std::string&)> tell) {
    const std::lock_guard lock(mutex_);
    tell_ = std::move(tell);
  }

  bool passes(int descriptor, std::span<const std::byte> bytes) {
    if (!any_)
      return true;
    const auto found = find(socket_inode(descriptor));
    if (!found)
      return true;
    if (found->broken)
      return false;
    const auto why = found->check->take(bytes);
    found->heard_ns = std::chrono::steady_clock::now().time_since_epoch().count();
    promise(*found, found->check->promised());
    if (!why.empty())
      give_up(*found, why);
    else if (promised_ > static_cast<std::int64_t>(longest_message))
      hold_promises();
    return !found->broken;
  }

private:
  struct stream {
    stream(int number, std::unique_ptr<stream_check> rules) : descriptor(number), check(std::move(rules)) {}

    int descriptor;
    std::unique_ptr<stream_check> check; ///< for the one thread that reads
    std::atomic<std::int64_t> promised = 0;
    std::atomic<std::int64_t> heard_ns = 0; ///< when bytes came last
    std::atomic<bool> broken = false;
  };

  std::shared_ptr<stream> find(ino_t inode) const {
    const std::lock_guard lock(mutex_);
    const auto at = streams_.find(inode);
    return at == streams_.end() ? nullptr : at->second;
  }

  void promise(stream& whose, std::size_t bytes) {
    const auto now = static_cast<std::int64_t>(bytes);
    promised_ += now - whose.promised.exchange(now);
  }

  /// With the lock held. What those had promised who have closed meanwhile is counted no more.
  void forget_closed() {
    std::erase_if(streams_, [](const auto& at) { return socket_inode(at.second->descriptor) != at.first; });
    std::int64_t sum = 0;
    for (const auto& [inode, one] : streams_)
      sum += one->promised;
    promised_ = sum;
  }

  /// Gives up those that have been silent for longest, until the rest is within the bound. Who sends is not among them.
  void hold_promises() {
    std::vector<std::shared_ptr<stream>> open;
    {
      const std::lock_guard lock(mutex_);
      forget_closed();
      for (const auto& [inode, one] : streams_)
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
  std::map<ino_t, std::shared_ptr<stream>> streams_;
  std::size_t sweep_at_ = 64;
  std::atomic<std::int64_t> promised_ = 0; ///< by all together
  std::function<void(const std::string&, const std::string&)> tell_;
  std::atomic<bool> any_ = false;
};

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
  return checked_streams::own().passes(descriptor, bytes);
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

// The program's symbol comes before the C library's: CAF and UCX call it.

extern "C" ssize_t recv(int descriptor, void* into, size_t room, int flags) {
  static auto* const real = millrace::access::next<ssize_t(int, void*, size_t, int)>("recv");
  const auto got = real(descriptor, into, room, flags);
  if (got > 0 && (flags & MSG_PEEK) == 0
      && !millrace::access::may_have(descriptor, {static_cast<const std::byte*>(into), static_cast<size_t>(got)})) {
    errno = ECONNRESET;
    return -1;
  }
  return got;
}
