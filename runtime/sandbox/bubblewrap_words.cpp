#include "runtime/sandbox/bubblewrap_words.hpp"

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <sstream>

namespace millrace::sandbox {
namespace {

namespace fs = std::filesystem;

/// Folders that are links into /usr on most systems and of their own on others.
constexpr const char* system_folders[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"};

void add(std::vector<std::string>& words, std::initializer_list<std::string> more) {
  words.insert(words.end(), more);
}

void show_system(std::vector<std::string>& words) {
  add(words, {"--ro-bind", "/usr", "/usr"});
  for (const std::string folder : system_folders) {
    std::error_code none;
    if (fs::is_symlink(folder, none))
      add(words, {"--symlink", fs::read_symlink(folder, none).string(), folder});
    else if (fs::is_directory(folder, none))
      add(words, {"--ro-bind", folder, folder});
  }
  // Where the loader finds libraries, and which of two the system prefers. Nothing else of /etc is anyone's business.
  for (const std::string found : {"/etc/ld.so.cache", "/etc/alternatives"})
    add(words, {"--ro-bind-try", found, found});
}

void show_devices(std::vector<std::string>& words, const std::string& bytes) {
  for (const std::string device : {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"})
    add(words, {"--dev-bind", device, device});
  add(words, {"--size", bytes, "--tmpfs", "/dev/shm"});
}

} // namespace

std::string find_bubblewrap() {
  const char* const path = std::getenv("PATH");
  std::istringstream folders(std::string(path ? path : "") + ":/usr/bin:/bin");
  for (std::string folder; std::getline(folders, folder, ':');)
    if (const auto file = folder + "/bwrap"; folder.starts_with('/') && access(file.c_str(), X_OK) == 0)
      return file;
  return {};
}

std::vector<std::string> bubblewrap_words(const std::string& bubblewrap, const job& what) {
  using fds = bubblewrap_descriptors;
  const auto disk = std::to_string(what.most.disk_bytes), processes = std::to_string(what.most.processes);
  std::vector<std::string> words{bubblewrap,
                                 "--unshare-all",
                                 "--unshare-user",
                                 "--disable-userns",
                                 "--die-with-parent",
                                 "--new-session",
                                 "--as-pid-1",
                                 "--clearenv",
                                 "--cap-drop",
                                 "ALL",
                                 "--uid",
                                 "65534",
                                 "--gid",
                                 "65534",
                                 "--hostname",
                                 "sandbox"};
  // Libraries that start a thread for each core would meet the bound on processes.
  for (const auto& [name, value] :
       {std::pair("PATH", "/usr/local/bin:/usr/bin:/bin"), std::pair("HOME", "/tmp"), std::pair("LANG", "C.UTF-8"),
        std::pair("OMP_NUM_THREADS", "1"), std::pair("OPENBLAS_NUM_THREADS", "1")})
    add(words, {"--setenv", name, value});
  show_system(words);
  for (const std::string& folder : what.folders)
    add(words, {"--ro-bind", folder, folder});
  show_devices(words, disk);
  add(words, {"--size", disk, "--tmpfs", "/tmp", "--chdir", "/tmp", "--remount-ro", "/"});
  add(words, {"--json-status-fd", std::to_string(fds::status), "--block-fd", std::to_string(fds::gate), "--seccomp",
              std::to_string(fds::filter), "--", "prlimit", "--nproc=" + processes + ":" + processes, "--"});
  words.insert(words.end(), what.command.begin(), what.command.end());
  return words;
}

} // namespace millrace::sandbox
