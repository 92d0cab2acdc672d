#pragma once

#include <span>
#include <string>

namespace millrace::sandbox {

/// The system calls that a program in the sandbox is denied (EPERM), by name: what looks into other processes, changes
/// namespaces or mounts, gives memory that no limit counts, or has had more holes than uses.
std::span<const char* const> denied_calls();

/// The seccomp filter as bubblewrap reads it: instructions of the kernel's BPF, 8 bytes each.
/// @throws sandbox_failure (refused) where libseccomp makes none
std::string system_call_filter();

} // namespace millrace::sandbox
