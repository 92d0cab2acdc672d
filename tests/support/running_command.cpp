#include "tests/support/running_command.hpp"

#include "tests/support/temporary_folder.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace millrace::tests {
namespace {

/// Reads from the start; the writer's place in the file stays where it is.
std::string contents(int file) {
  struct stat about {};

  fstat(file, &about);
  std::string text(static_cast<std::size_t>(about.st_size), '\0');
  std::size_t read = 0;
  while (read < text.size()) {
    const auto got = pread(file, text.data() + read, text.size() - read, static_cast<off_t>(read));
    if (got <= 0)
      break;
    read += static_cast<std::size_t>(got);
  }
  text.resize(read);
  return text;
}

} // namespace

running_command::running_command(const std::vector<std::string>& arguments, const std::filesystem::path& folder)
    : out_(memfd_create("stdout", MFD_CLOEXEC)), err_(memfd_create("stderr", MFD_CLOEXEC)) {
  std::vector<std::string> text = arguments;
  std::vector<char*> argv;
  for (auto& argument : text)
    argv.push_back(argument.data());
  argv.push_back(nullptr);
  const std::string where = folder.string();
  const int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setpgid(0, 0);
    dup2(nothing, 0);
    dup2(out_, 1);
    dup2(err_, 2);
    if (where.empty() || chdir(where.c_str()) == 0)
      execv(argv[0], argv.data());
    _exit(127);
  }
  close(nothing);
  if (pid_ < 0)
    throw std::runtime_error("fork failed");
  setpgid(pid_, pid_);
}

running_command::~running_command() {
  kill(-pid_, SIGKILL);
  if (!end_)
    waitpid(pid_, nullptr, 0);
  close(out_);
  close(err_);
}

std::string running_command::out() const {
  return contents(out_);
}

std::string running_command::err() const {
  return contents(err_);
}

void running_command::signal(int number) const {
  kill(pid_, number);
}

void running_command::signal_group(int number) const {
  kill(-pid_, number);
}

std::optional<command_end> running_command::ended() {
  int status = 0;
  if (!end_ && waitpid(pid_, &status, WNOHANG) == pid_)
    end_ = WIFSIGNALED(status) ? command_end{-1, WTERMSIG(status)} : command_end{WEXITSTATUS(status), 0};
  return end_;
}

command_end running_command::wait(double deadline_s) {
  if (!wait_until([this] { return ended().has_value(); }, deadline_s)) {
    kill(-pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    end_ = command_end{-1, SIGKILL};
  }
  return *end_;
}

bool wait_until(const std::function<bool()>& holds, double deadline_s) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(deadline_s);
  while (!holds()) {
    if (std::chrono::steady_clock::now() > deadline)
      return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

std::string environment_of(pid_t pid, const std::string& name) {
  const auto block = '\0' + read_file("/proc/" + std::to_string(pid) + "/environ");
  const auto at = block.find('\0' + name + '=');
  return at == std::string::npos ? "unset" : std::string(block.c_str() + at + name.size() + 2);
}

bool is_running(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  if (!std::getline(file, line))
    return false;
  const auto state = line.find(") ");
  return state != std::string::npos && line[state + 2] != 'Z' && line[state + 2] != 'X';
}

} // namespace millrace::tests
