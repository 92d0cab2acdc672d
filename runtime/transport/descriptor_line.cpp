#include "runtime/transport/descriptor_line.hpp"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>

namespace millrace::transport {
namespace {

[[noreturn]] void fail(int socket, const std::string& what) {
  const std::string why = what + ": " + std::strerror(errno);
  if (socket >= 0)
    ::close(socket);
  throw std::runtime_error(why);
}

int unix_socket() {
  const int socket = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket < 0)
    fail(socket, "socket");
  return socket;
}

struct abstract_address {
  explicit abstract_address(const std::string& name) {
    if (name.empty() || name.size() >= sizeof where.sun_path)
      throw std::runtime_error("the name of a door has " + std::to_string(name.size()) + " bytes, want 1 to "
                               + std::to_string(sizeof where.sun_path - 1));
    where.sun_family = AF_UNIX;
    std::memcpy(where.sun_path + 1, name.data(), name.size()); // the first byte is 0: no file
    size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
  }

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&where); }

  sockaddr_un where{};
  socklen_t size = 0;
};

} // namespace

std::shared_ptr<descriptor_line> descriptor_line::to_door(boost::asio::io_context& loop, const std::string& name) {
  const abstract_address there(name);
  const int socket = unix_socket();
  if (::connect(socket, there.get(), there.size) != 0)
    fail(socket, "connect");
  return std::make_shared<descriptor_line>(loop, socket);
}

descriptor_line::descriptor_line(boost::asio::io_context& loop, int socket) : socket_(loop, socket) {
  ucred other{};
  socklen_t size = sizeof other;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &other, &size) != 0)
    throw std::runtime_error(std::string("SO_PEERCRED: ") + std::strerror(errno));
  if (other.uid != ::geteuid())
    throw std::runtime_error("it is user " + std::to_string(other.uid) + "'s, this process user "
                             + std::to_string(::geteuid()) + "'s");
}

void descriptor_line::listen(message_handler on_message, std::function<void()> on_end) {
  on_message_ = std::move(on_message);
  on_end_ = std::move(on_end);
  wait();
}

void descriptor_line::wait() {
  socket_.async_wait(boost::asio::posix::stream_descriptor::wait_read,
                     [self = shared_from_this()](const boost::system::error_code& error) {
                       if (!error)
                         self->read_all();
                     });
}

void descriptor_line::read_all() {
  while (socket_.is_open()) {
    std::array<std::byte, largest> bytes;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
    iovec piece{bytes.data(), bytes.size()};
    msghdr message{};
    message.msg_iov = &piece;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = CMSG_LEN(sizeof(int)); // room for one, the kernel closes others
    const auto got = ::recvmsg(socket_.native_handle(), &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
      return wait();
    int descriptor = -1;
    if (const cmsghdr* first = got >= 0 ? CMSG_FIRSTHDR(&message) : nullptr;
        first != nullptr && first->cmsg_level == SOL_SOCKET && first->cmsg_type == SCM_RIGHTS)
      std::memcpy(&descriptor, CMSG_DATA(first), sizeof descriptor);
    if (got > 0) {
      const auto handler = on_message_; // it may close the line
      handler(std::span(bytes).first(static_cast<std::size_t>(got)), descriptor);
      continue;
    }
    const auto gone = std::move(on_end_);
    close();
    if (gone)
      gone();
  }
}

bool descriptor_line::send(std::span<const std::byte> message, int descriptor) {
  if (!socket_.is_open())
    return false;
  alignas(cmsghdr) std::array<char, CMSG_SPACE(sizeof(int))> control{};
  iovec piece{const_cast<std::byte*>(message.data()), message.size()};
  msghdr out{};
  out.msg_iov = &piece;
  out.msg_iovlen = 1;
  if (descriptor >= 0) {
    out.msg_control = control.data();
    out.msg_controllen = control.size();
    cmsghdr* const rights = CMSG_FIRSTHDR(&out);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof descriptor);
    std::memcpy(CMSG_DATA(rights), &descriptor, sizeof descriptor);
  }
  return ::sendmsg(socket_.native_handle(), &out, MSG_DONTWAIT | MSG_NOSIGNAL) == static_cast<ssize_t>(message.size());
}

void descriptor_line::close() {
  boost::system::error_code ignored;
  socket_.close(ignored);
  on_message_ = nullptr;
  on_end_ = nullptr;
}

descriptor_door::descriptor_door(boost::asio::io_context& loop, const std::string& name, line_handler on_line)
    : loop_(loop), socket_(loop), on_line_(std::move(on_line)) {
  const abstract_address here(name);
  const int socket = unix_socket();
  if (::bind(socket, here.get(), here.size) != 0)
    fail(socket, "bind");
  if (::listen(socket, SOMAXCONN) != 0)
    fail(socket, "listen");
  socket_.assign(socket);
  wait();
}

void descriptor_door::wait() {
  socket_.async_wait(boost::asio::posix::stream_descriptor::wait_read, [this](const boost::system::error_code& error) {
    if (error)
      return;
    const int line = ::accept4(socket_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (line < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)) {
      boost::system::error_code ignored;
      socket_.close(ignored); // who knocks is turned away, and does not wait
      return;
    }
    try {
      if (line >= 0)
        on_line_(std::make_shared<descriptor_line>(loop_, line));
    } catch (const std::runtime_error&) {
      // another user's: closed
    }
    wait();
  });
}

std::string host_identity() {
  std::string boot;

  struct stat network {};

  std::ifstream("/proc/sys/kernel/random/boot_id") >> boot;
  if (boot.empty() || ::stat("/proc/self/ns/net", &network) != 0)
    return {};
  return boot + '/' + std::to_string(network.st_ino);
}

} // namespace millrace::transport
