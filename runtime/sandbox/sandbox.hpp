#pragma once

#include "runtime/sandbox/bubblewrap_words.hpp"
#include "runtime/sandbox/job.hpp"
#include "runtime/words/failure_kind.hpp"

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>

namespace millrace::sandbox {

/// A program that was not run, or not to its end, through no fault of its own.
struct sandbox_failure : std::runtime_error {
  sandbox_failure(failure_kind why, const std::string& line) : std::runtime_error(line), kind(why) {}

  failure_kind kind;
};

/// Runs programs that nobody trusts, with bubblewrap: no network, no files but /usr and an empty /tmp, no environment,
/// no other processes, and bounds on what they take. The room's page says what it does not bound. Thread-safe.
///
/// Invariants
/// - SB-1: when `run` returns or throws, no process of the program is left, not even one to be reaped.
/// - SB-2: a program is run in the sandbox or not at all.
class sandbox {
public:
  /// How long a sandbox may take until its program starts, and after that to end what was killed.
  static constexpr std::chrono::seconds start_up{20};

  /// @param slots      programs at once, >= 1. Under root, each has a user of its own
  /// @param bubblewrap its path; "": this machine has none, and nothing is run
  explicit sandbox(std::size_t slots, std::string bubblewrap = find_bubblewrap());
  ~sandbox();

  /// Waits while all slots are busy, then runs the program.
  /// @throws sandbox_failure (refused, timeout) if the sandbox cannot be started or does not end
  outcome run(const job& what) const;

  /// Why this machine cannot run programs in it, in one line; "" where it can: bubblewrap is missing, a container
  /// without user namespaces, processes that are not bounded. Runs a program to find out.
  std::string unusable() const;

  std::size_t slots() const;

private:
  struct state;
  std::unique_ptr<state> state_;
};

} // namespace millrace::sandbox
