#pragma once

#include "runtime/sandbox/job.hpp"

#include <string>
#include <vector>

namespace millrace::sandbox {

/// The descriptors that bubblewrap is started with, beside stdin, stdout and stderr.
struct bubblewrap_descriptors {
  static constexpr int status = 3; ///< bubblewrap writes process 1's id, and at the end its exit status
  static constexpr int gate = 4;   ///< bubblewrap waits for a byte once the sandbox is ready, then closes it
  static constexpr int filter = 5; ///< bubblewrap reads the seccomp filter
};

/// Where bubblewrap is: the first `bwrap` of PATH, or of /usr/bin and /bin. @returns "" where there is none
std::string find_bubblewrap();

/// bubblewrap's arguments for a job, itself the first: what the program sees and as whom it runs.
std::vector<std::string> bubblewrap_words(const std::string& bubblewrap, const job& what);

} // namespace millrace::sandbox
