#include "runtime/run_files/run_folder.hpp"

#include "runtime/formats/strict_json.hpp"
#include "runtime/run_files/checkpoint_store.hpp"
#include "runtime/words/input_error.hpp"

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <vector>

namespace millrace::run_files {
namespace {

namespace fs = std::filesystem;

/// The holder writes its process id into `lock`, so that others can name it.
std::int64_t pid_in(int lock) {
  std::array<char, 32> text{};
  const ssize_t got = ::pread(lock, text.data(), text.size(), 0);
  std::int64_t pid = 0;
  std::from_chars(text.data(), text.data() + std::max<ssize_t>(got, 0), pid);
  return pid;
}

bool try_lock(int lock, int how) {
  int done = 0;
  do
    done = ::flock(lock, how | LOCK_NB);
  while (done != 0 && errno == EINTR);
  return done == 0;
}

descriptor take_lock(const fs::path& folder) {
  const auto path = folder / "lock";
  descriptor lock{::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644)};
  if (lock.get() < 0)
    throw input_error(folder.string() + " cannot be written: " + std::strerror(errno));
  if (!try_lock(lock.get(), LOCK_EX)) {
    const auto pid = pid_in(lock.get());
    throw input_error(folder.string() + " is in use by process " + (pid > 0 ? std::to_string(pid) : "unknown")
                      + ": see `millrace status " + folder.string() + "`, or give another --output");
  }
  const std::string pid = std::to_string(::getpid()) + "\n";
  if (::ftruncate(lock.get(), 0) != 0 || ::pwrite(lock.get(), pid.data(), pid.size(), 0) != std::ssize(pid))
    throw input_error(folder.string() + " cannot be written: " + std::strerror(errno));
  return lock;
}

bool is_run(const fs::path& folder) {
  std::error_code ignored;
  return fs::exists(folder / "resolved.toml", ignored);
}

void want_run(const fs::path& folder) {
  std::error_code ignored;
  if (!fs::exists(folder, ignored))
    throw input_error(folder.string() + " does not exist: want the folder of a run");
  if (!fs::is_directory(folder, ignored))
    throw input_error(folder.string() + " is not a folder: want the folder of a run");
  if (!is_run(folder))
    throw input_error(folder.string() + " holds no run (there is no resolved.toml in it): want the folder of a run");
}

/// " (42 of 60 steps)" out of the run's status.json; "" if there is none, or a damaged one.
std::string progress_of(const fs::path& folder) {
  try {
    const auto status = formats::json_or_discarded(read_file(folder / "status.json"));
    return " (" + std::to_string(status.at("step").get<std::int64_t>()) + " of "
           + std::to_string(status.at("steps").get<std::int64_t>()) + " steps)";
  } catch (const storage_error&) {
    return "";
  } catch (const nlohmann::json::exception&) {
    return "";
  }
}

constexpr std::string_view changed_prefix = "resolved-", changed_suffix = ".toml";

/// Where the pipeline of the sessions up to this one is kept, if a later one changed it.
std::string changed_name(int session) {
  return std::string(changed_prefix) + std::to_string(session) + std::string(changed_suffix);
}

/// The session in such a name; 0: it is another.
int changed_after(const std::string& name) {
  int session = 0;
  if (name.starts_with(changed_prefix) && name.ends_with(changed_suffix))
    std::from_chars(name.data() + changed_prefix.size(), name.data() + name.size(), session);
  return session;
}

/// What a run that ended before its first file may have left: such a folder may be used again.
bool only_leftovers(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    const auto name = entry.path().filename().string();
    if (name != "lock" && name != "log.txt" && name != "status.json" && name != "resolved.toml.new")
      return false;
  }
  return true;
}

} // namespace

run_folder::run_folder(fs::path path, descriptor lock, int session)
    : path_{std::move(path)}, lock_{std::move(lock)}, session_{session} {
}

run_folder run_folder::create(const fs::path& path) {
  std::error_code error;
  if (fs::exists(path, error) && !fs::is_directory(path, error))
    throw input_error(path.string() + " is a file: give another --output");
  fs::create_directories(path, error);
  if (error)
    throw input_error(path.string() + " cannot be made: " + error.message() + ": give another --output");
  if (!is_run(path) && !only_leftovers(path))
    throw input_error(path.string() + " is not empty and holds no run: give another --output");
  descriptor lock = take_lock(path);
  if (is_run(path))
    throw input_error(path.string() + " already holds a run" + progress_of(path) + ": resume it with `millrace resume "
                      + path.string() + "`, or give another --output");
  return {path, std::move(lock), 1};
}

run_folder run_folder::open(const fs::path& path) {
  want_run(path);
  descriptor lock = take_lock(path);
  int session = 2;
  while (fs::exists(trace_of(path, session)) || fs::exists(trajectories_of(path, session)))
    ++session;
  return {path, std::move(lock), session};
}

void run_folder::change_pipeline(std::string_view resolved) const {
  const auto before = path_ / changed_name(session_ - 1);
  if (session_ > 1
      && !fs::exists(before)) // it is there if an earlier attempt at this session did not get as far as its files
    replace_file(before, read_file(this->resolved()), survives::power_cut);
  replace_file(this->resolved(), resolved, survives::power_cut);
}

fs::path run_folder::trace() const {
  return trace_of(path_, session_);
}

fs::path run_folder::trajectories() const {
  return trajectories_of(path_, session_);
}

fs::path resolved_of(const fs::path& folder, int session) {
  std::optional<int> last; // of the sessions that ran the same
  for (const auto& entry : fs::directory_iterator(folder))
    if (const int number = changed_after(entry.path().filename().string());
        number >= session && (!last || number < *last))
      last = number;
  return folder / (last ? changed_name(*last) : "resolved.toml");
}

fs::path trace_of(const fs::path& folder, int session) {
  return folder / (session > 1 ? "trace-" + std::to_string(session) + ".json" : "trace.json");
}

fs::path trajectories_of(const fs::path& folder, int session) {
  return folder / ("trajectories-" + std::to_string(session) + ".jsonl.zst");
}

fs::path newest_groups_of(const fs::path& folder) {
  return folder / "newest_groups.jsonl";
}

fs::path default_run_path(const fs::path& runs, std::string_view name, std::string_view date) {
  for (int number = 1;; ++number) {
    auto path = runs / (std::string{name} + "-" + std::string{date} + "-" + std::to_string(number));
    if (!fs::exists(path))
      return path;
  }
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  ::localtime_r(&now, &local);
  std::array<char, 16> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d", &local);
  return text.data();
}

void forget_unstarted_run(const fs::path& path) {
  std::error_code ignored;
  const auto metrics = fs::file_size(path / "metrics.jsonl", ignored);
  if ((!ignored && metrics > 0) || !checkpoint_steps(path / "checkpoints").empty())
    return;
  std::vector<fs::path> left;
  for (const auto& entry : fs::directory_iterator(path, ignored))
    if (const auto name = entry.path().filename().string();
        name != "lock" && name != "log.txt" && name != "status.json" && name != "resolved.toml")
      left.push_back(entry.path());
  left.push_back(path / "resolved.toml"); // last: without it the folder is no run
  for (const auto& file : left)
    fs::remove_all(file, ignored);
}

std::optional<std::int64_t> holder_of_run(const fs::path& path) {
  std::error_code ignored;
  if (!fs::exists(path / "status.json", ignored)) // a run that failed at its start has left one, and no more
    want_run(path);
  const descriptor lock{::open((path / "lock").c_str(), O_RDONLY | O_CLOEXEC)};
  if (lock.get() < 0 || try_lock(lock.get(), LOCK_SH))
    return std::nullopt;
  return pid_in(lock.get());
}

} // namespace millrace::run_files
