#pragma once

#include "runtime/cluster/signals.hpp"

#include <atomic>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace millrace::tools {

/// A run whose nodes somebody else has started, in a process of its own: who started the nodes lives on when it ends,
/// however it ends.
struct conducted_run {
  std::vector<std::filesystem::path> files;
  std::vector<std::string> overrides;
  std::filesystem::path output;      ///< a folder that holds a run already is gone on with
  std::vector<std::string> nodes;    ///< HOST:PORT
  std::filesystem::path secret_file; ///< of the nodes
};

/// The command line for it: `run FILE... --output DIR` or `resume DIR`, with the nodes as `placement.nodes`.
/// @throws pipeline_errors for a file that is no pipeline
std::vector<std::string> arguments_of(const conducted_run& run);

/// A signal that asks for the end. Make it before any other thread.
class stop_request {
public:
  bool asked() const { return asked_; }

  bool asked_twice() const { return interrupts_ > 1; } ///< by Ctrl-C

private:
  std::atomic<bool> asked_ = false;
  std::atomic<int> interrupts_ = 0;
  cluster::stop_signals signals_{[this](const char*, int interrupts) {
    interrupts_ = interrupts;
    asked_ = true;
  }}; ///< last: its thread uses the rest
};

/// Starts the run, hands on that the end is asked for, and waits for it. A second Ctrl-C kills the run.
/// @param look called ten times a second while it runs
/// @returns its exit status; after a signal that ended it 128 and the signal
int conduct(const conducted_run& run, const stop_request& stop, const std::function<void()>& look = {});

} // namespace millrace::tools
