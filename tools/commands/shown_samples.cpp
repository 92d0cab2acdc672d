#include "tools/commands/shown_samples.hpp"

#include "runtime/run_files/run_folder.hpp"
#include "runtime/telemetry/log.hpp"
#include "runtime/telemetry/samples.hpp"
#include "runtime/telemetry/trajectories.hpp"
#include "runtime/words/no_signals.hpp"

#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <vector>

namespace millrace::tools {
namespace {

namespace fs = std::filesystem;

/// The folders that may hold trajectories: the run's, and its stages'.
std::vector<fs::path> folders_of(const fs::path& run) {
  std::vector<fs::path> folders{run};
  std::error_code failed;
  for (fs::directory_iterator at(run, failed), none; !failed && at != none; at.increment(failed))
    if (std::error_code gone; at->is_directory(gone))
      folders.push_back(at->path());
  return folders;
}

/// Of every session.
std::vector<fs::path> trajectories_in(const fs::path& run) {
  std::vector<fs::path> files;
  std::error_code gone;
  for (const auto& folder : folders_of(run))
    for (int session = 1; fs::exists(run_files::trajectories_of(folder, session), gone); ++session)
      files.push_back(run_files::trajectories_of(folder, session));
  return files;
}

void print(std::string text) {
  if (text.empty())
    return;
  if (::isatty(STDOUT_FILENO) == 1) { // above the line that is drawn over in place
    text.pop_back();
    telemetry::process_log().say(text);
    return;
  }
  std::fputs(text.c_str(), stdout);
  std::fflush(stdout);
}

} // namespace

shown_samples::shown_samples(fs::path run, std::size_t answers) : run_(std::move(run)), answers_(answers) {
  if (answers_ == 0)
    return;
  const no_signals quiet; // the run takes the signals: not a thread that was there before it
  thread_ = std::thread([this] { follow(); });
}

shown_samples::~shown_samples() {
  ended_ = true;
  if (thread_.joinable())
    thread_.join();
}

void shown_samples::follow() {
  constexpr auto pause = std::chrono::milliseconds(200);
  std::map<fs::path, telemetry::trajectory_follower> files;
  for (bool last = false; !last;) {
    last = ended_; // before reading: what was written until then is read below
    for (const auto& path : trajectories_in(run_)) {
      const auto file = files.try_emplace(path, path).first;
      print(telemetry::samples_in_words(file->second.more(), answers_));
    }
    if (!last)
      std::this_thread::sleep_for(pause);
  }
}

} // namespace millrace::tools
