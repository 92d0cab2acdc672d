#pragma once

#include "tests/tools/tiny_run.hpp"

#include <sys/types.h>

#include <filesystem>
#include <set>
#include <string>

namespace millrace::tests {

/// Whether the long sweep is asked for: MILLRACE_CHAOS=long in the environment.
bool long_sweep();

/// Names in a folder; none if it is not there.
std::set<std::string> names_in(const std::filesystem::path& folder);

/// Checks that a run has finished, that every group was trained at most once, as many as its steps need, and that its
/// ledger closes with nothing live.
void check_books(const run_on_disk& files, int steps);

/// An own TMPDIR for whatever is started while this lives.
class scratch_folder {
public:
  scratch_folder();
  ~scratch_folder();
  scratch_folder(const scratch_folder&) = delete;
  scratch_folder& operator=(const scratch_folder&) = delete;

  /// What lies there.
  std::set<std::string> left() const { return names_in(folder_.path()); }

private:
  std::string before_;
  temporary_folder folder_;
};

} // namespace millrace::tests
