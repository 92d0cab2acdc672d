#include "runtime/sandbox/system_calls.hpp"

#include "runtime/sandbox/descriptor.hpp"
#include "runtime/sandbox/sandbox.hpp"

#include <sched.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace millrace::sandbox {
namespace {

constexpr const char* denied_names[] = {
    // other processes' memory and descriptors
    "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp", "pidfd_getfd", "perf_event_open",
    // namespaces, mounts, roots
    "unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "mount_setattr", "move_mount", "open_tree",
    "fsopen", "fsconfig", "fsmount", "fspick", "open_by_handle_at", "name_to_handle_at",
    // large parts of the kernel that a program that computes does not need
    "bpf", "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key", "request_key",
    "fanotify_init", "lookup_dcookie", "personality", "modify_ldt", "vmsplice",
    // memory that no limit of a process counts
    "memfd_create", "memfd_secret", "shmget", "shmat", "shmctl", "msgget", "msgsnd", "semget", "semop", "semtimedop",
    "mq_open",
    // the machine
    "init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff",
    "syslog", "acct", "quotactl", "quotactl_fd", "iopl", "ioperm", "vhangup", "settimeofday", "clock_settime",
    "clock_adjtime", "adjtimex", "sethostname", "setdomainname", "nfsservctl", "mbind", "migrate_pages", "move_pages",
    "set_mempolicy"};

/// Flags of clone that make namespaces: unshare by another name.
constexpr scmp_datum_t namespace_flags =
    CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;

constexpr unsigned long push_input = 0x5412, linux_console = 0x541c; ///< TIOCSTI, TIOCLINUX: typing for a terminal

class filter_rules {
public:
  filter_rules() : made_(seccomp_init(SCMP_ACT_ALLOW), seccomp_release) {
    if (!made_)
      throw sandbox_failure(failure_kind::refused, "libseccomp makes no filter");
  }

  template <class... Conditions>
  void deny(const char* name, int error, Conditions... conditions) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) // younger than this libseccomp
      return;
    const scmp_arg_cmp list[] = {conditions..., scmp_arg_cmp{}};
    check(seccomp_rule_add_array(made_.get(), SCMP_ACT_ERRNO(static_cast<unsigned>(error)), number,
                                 sizeof...(conditions), list),
          name);
  }

  std::string compiled() {
    const descriptor file(memfd_create("filter", MFD_CLOEXEC));
    check(file.number() < 0 ? -errno : seccomp_export_bpf(made_.get(), file.number()), "export");
    std::string bytes(static_cast<std::size_t>(lseek(file.number(), 0, SEEK_END)), '\0');
    check(pread(file.number(), bytes.data(), bytes.size(), 0) == std::ssize(bytes) ? 0 : -EIO, "read");
    return bytes;
  }

private:
  static void check(int result, const char* what) {
    if (result < 0)
      throw sandbox_failure(failure_kind::refused, std::string("libseccomp: ") + what + ": " + std::strerror(-result));
  }

  std::unique_ptr<void, decltype(&seccomp_release)> made_;
};

} // namespace

std::span<const char* const> denied_calls() {
  return denied_names;
}

std::string system_call_filter() {
  filter_rules rules;
  for (const char* name : denied_names)
    rules.deny(name, EPERM);
  // Its flags lie in memory that a filter cannot read. Where the system says that it has no clone3, libraries use
  // clone.
  rules.deny("clone3", ENOSYS);
  for (scmp_datum_t flag = 1; flag != 0 && flag <= namespace_flags; flag <<= 1)
    if (namespace_flags & flag)
      rules.deny("clone", EPERM, SCMP_A0_64(SCMP_CMP_MASKED_EQ, flag, flag));
  rules.deny("ioctl", EPERM, SCMP_A1_32(SCMP_CMP_EQ, push_input));
  rules.deny("ioctl", EPERM, SCMP_A1_32(SCMP_CMP_EQ, linux_console));
  // A network namespace holds IP and UNIX sockets. Others reach further: those of the virtual machine's host do.
  rules.deny("socket", EPERM, SCMP_A0_32(SCMP_CMP_GT, AF_INET6));
  for (int family = 0; family < AF_INET6; ++family)
    if (family != AF_UNIX && family != AF_INET)
      rules.deny("socket", EPERM, SCMP_A0_32(SCMP_CMP_EQ, static_cast<scmp_datum_t>(family)));
  return rules.compiled();
}

} // namespace millrace::sandbox
