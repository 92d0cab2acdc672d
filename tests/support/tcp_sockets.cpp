#include "tests/support/tcp_sockets.hpp"

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstddef>
#include <cstring>

namespace millrace::tests {
namespace {

constexpr std::uint32_t established = 1; // TCP_ESTABLISHED

std::uint64_t bytes_received(const inet_diag_msg* about, std::size_t length) {
  auto left = static_cast<int>(length - sizeof(inet_diag_msg));
  for (auto* part = reinterpret_cast<const rtattr*>(about + 1); RTA_OK(part, left); part = RTA_NEXT(part, left))
    if (part->rta_type == INET_DIAG_INFO && RTA_PAYLOAD(part) >= offsetof(tcp_info, tcpi_bytes_received) + 8) {
      std::uint64_t bytes = 0;
      const auto* info = static_cast<const char*>(RTA_DATA(part));
      std::memcpy(&bytes, info + offsetof(tcp_info, tcpi_bytes_received), sizeof bytes);
      return bytes;
    }
  return 0;
}

/// One answer of the kernel, a datagram of several messages. @returns whether more follow
bool take(const char* data, std::size_t size, std::vector<tcp_socket>& sockets) {
  auto left = static_cast<unsigned>(size);
  const auto* message = reinterpret_cast<const nlmsghdr*>(data);
  for (; NLMSG_OK(message, left); message = NLMSG_NEXT(message, left)) {
    if (message->nlmsg_type == NLMSG_DONE || message->nlmsg_type == NLMSG_ERROR)
      return false;
    const auto* about = static_cast<const inet_diag_msg*>(NLMSG_DATA(message));
    sockets.push_back({about->idiag_inode, ntohs(about->id.idiag_sport), ntohs(about->id.idiag_dport),
                       bytes_received(about, message->nlmsg_len - NLMSG_LENGTH(0))});
  }
  return true;
}

void ask(int kernel, std::uint8_t family, std::vector<tcp_socket>& sockets) {
  struct {
    nlmsghdr head;
    inet_diag_req_v2 what;
  } request{};

  request.head.nlmsg_len = sizeof request;
  request.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
  request.what.sdiag_family = family;
  request.what.sdiag_protocol = IPPROTO_TCP;
  request.what.idiag_ext = 1 << (INET_DIAG_INFO - 1);
  request.what.idiag_states = 1U << established;
  if (send(kernel, &request, sizeof request, 0) != static_cast<ssize_t>(sizeof request))
    return;
  alignas(nlmsghdr) char answer[32768];
  for (;;) {
    const auto got = recv(kernel, answer, sizeof answer, 0);
    if (got <= 0 || !take(answer, static_cast<std::size_t>(got), sockets))
      return;
  }
}

} // namespace

std::vector<tcp_socket> connected_tcp_sockets() {
  std::vector<tcp_socket> sockets;
  const int kernel = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (kernel < 0)
    return sockets;
  ask(kernel, AF_INET, sockets);
  ask(kernel, AF_INET6, sockets);
  close(kernel);
  return sockets;
}

} // namespace millrace::tests
