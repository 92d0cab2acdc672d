#include "runtime/sandbox/system_calls.hpp"
#include "tests/runtime/sandbox/usable.hpp"

#include <algorithm>
#include <string_view>

namespace system_calls_test {

using namespace millrace::sandbox;

TEST_CASE("the filter is whole instructions, and fits into a pipe") {
  const auto filter = system_call_filter();
  CHECK(filter.size() % 8 == 0);
  CHECK(filter.size() > 8 * denied_calls().size());
  CHECK(filter.size() < 65536);
}

TEST_CASE("no call is denied twice") {
  auto names = std::vector<std::string_view>(denied_calls().begin(), denied_calls().end());
  std::sort(names.begin(), names.end());
  CHECK(std::adjacent_find(names.begin(), names.end()) == names.end());
}

TEST_CASE("what looks into other processes or leaves the sandbox is denied, and what computes is not") {
  if (!millrace::tests::has_sandboxes())
    return;
  // Each with arguments that would make it do nothing at all.
  const std::string script = R"(
import ctypes, errno, os, socket, threading
libc = ctypes.CDLL(None, use_errno=True)
def tried(name, number, *arguments):
    ctypes.set_errno(0)
    libc.syscall(number, *arguments)
    print(name, errno.errorcode.get(ctypes.get_errno(), 'allowed'))
tried('ptrace', 101, 0xffff, 0, 0, 0)
tried('process_vm_readv', 310, 1, 0, 0, 0, 0, 0)
tried('unshare', 272, 0)
tried('setns', 308, -1, 0)
tried('mount', 165, 0, 0, 0, 0, 0)
tried('bpf', 321, 999, 0, 0)
tried('keyctl', 250, 999)
tried('io_uring_setup', 425, 0, 0)
tried('userfaultfd', 323, 0xffff)
tried('perf_event_open', 298, 0, 0, 0, 0, 0)
tried('memfd_create', 319, 0, 0xffff)
tried('shmget', 29, 0, 0, 0)
tried('clone of a user namespace', 56, 0x10000000, 0, 0, 0, 0)
tried('clone3', 435, 0, 0)
tried('getpid', 39)
for family in (socket.AF_NETLINK, socket.AF_VSOCK, 38):
    try:
        socket.socket(family, socket.SOCK_RAW).close()
        print('family', family, 'allowed')
    except OSError as error:
        print('family', int(family), errno.errorcode[error.errno])
socket.socketpair()[0].close()
socket.socket().close()
thread = threading.Thread(target=print, args=('thread',))
thread.start()
thread.join()
child = os.fork()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
)";
  const auto found = sandbox(1).run({.command = {"python3", "-I", "-c", script}});
  CHECK(found.err == "");
  CHECK(found.out
        == "ptrace EPERM\nprocess_vm_readv EPERM\nunshare EPERM\nsetns EPERM\nmount EPERM\nbpf EPERM\nkeyctl EPERM\n"
           "io_uring_setup EPERM\nuserfaultfd EPERM\nperf_event_open EPERM\nmemfd_create EPERM\nshmget EPERM\n"
           "clone of a user namespace EPERM\nclone3 ENOSYS\ngetpid allowed\n"
           "family 16 EPERM\nfamily 40 EPERM\nfamily 38 EPERM\nthread\n");
  CHECK(found.status == 0);
}

} // namespace system_calls_test
