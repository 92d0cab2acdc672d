#pragma once

#include "tests/runtime/collective/ranks.hpp"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <sstream>

extern char** environ;

namespace millrace::collective::testing {

/// This program again as one rank of a group. What it does is told it line by line (`rank_process_test.cpp`).
class rank_process {
public:
  static constexpr int commands = 3, answers = 4; ///< descriptors of the child

  rank_process(int rank, int size) {
    int down[2], up[2];
    REQUIRE(::pipe2(down, O_CLOEXEC) == 0);
    REQUIRE(::pipe2(up, O_CLOEXEC) == 0);
    // Out of the way first, so that no source is a target, whatever descriptors this process was started with.
    for (int* end : {&down[0], &up[1]}) {
      const int high = ::fcntl(*end, F_DUPFD_CLOEXEC, answers + 1);
      REQUIRE(high > answers);
      ::close(*end);
      *end = high;
    }
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawn_file_actions_adddup2(&actions, down[0], commands);
    ::posix_spawn_file_actions_adddup2(&actions, up[1], answers);
    ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    std::string program = "/proc/self/exe", all = "--no-skip", which = "--test-case=a rank of another process";
    char* arguments[] = {program.data(), all.data(), which.data(), nullptr};
    REQUIRE(::posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, arguments, environ) == 0);
    ::posix_spawn_file_actions_destroy(&actions);
    ::close(down[0]);
    ::close(up[1]);
    down_ = down[1];
    up_ = up[0];
    say("be " + std::to_string(rank) + " " + std::to_string(size));
  }

  ~rank_process() {
    signal(SIGKILL);
    ::waitpid(pid_, nullptr, 0);
    ::close(down_);
    if (reader_.joinable())
      reader_.join();
    ::close(up_);
  }

  rank_process(const rank_process&) = delete;
  rank_process& operator=(const rank_process&) = delete;

  void say(const std::string& line) const {
    const auto text = line + "\n";
    CHECK(::write(down_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
  }

  /// From here on, what it says to the others is told them.
  void told_to(const words_of_all& others) {
    reader_ = std::thread([this, all = others.all()] {
      std::string text;
      std::array<char, 4096> some;
      for (ssize_t got = 0; (got = ::read(up_, some.data(), some.size())) > 0;) {
        text.append(some.data(), static_cast<std::size_t>(got));
        for (auto end = text.find('\n'); end != std::string::npos; end = text.find('\n')) {
          std::istringstream line(text.substr(0, end));
          std::string key, value;
          line >> key >> value;
          for (const auto& words : all)
            words->told(key, value);
          text.erase(0, end + 1);
        }
      }
    });
  }

  void signal(int number) const { ::kill(pid_, number); }

  /// Waits until it stands still, after SIGSTOP.
  void stopped() const { CHECK(::waitpid(pid_, nullptr, WUNTRACED) == pid_); }

private:
  pid_t pid_ = -1;
  int down_ = -1, up_ = -1;
  std::thread reader_;
};

/// A group whose last rank is another process, and the others threads of this one.
class mixed_group {
public:
  explicit mixed_group(int size, std::chrono::milliseconds exchange_deadline = std::chrono::seconds(30))
      : other(size - 1, size), words_(size - 1, [this](const std::string& key, const std::string& value) {
          other.say("word " + key + " " + value);
        }) {
    other.told_to(words_);
    other.say("connect");
    own.resize(static_cast<std::size_t>(size - 1));
    const auto thrown = on_ranks(size - 1, [&](int rank) {
      auto options = options_of(rank, size);
      options.exchange_deadline = exchange_deadline;
      own[static_cast<std::size_t>(rank)] = connect_gloo(options, words_.of(rank));
    });
    REQUIRE(thrown == std::vector<std::string>(own.size()));
  }

  /// Exchanges one number with all, on the own ranks. @returns what each threw
  std::vector<std::string> exchange() {
    return on_ranks(static_cast<int>(own.size()),
                    [this](int rank) { exchange_one(*own[static_cast<std::size_t>(rank)]); });
  }

  rank_process other;
  std::vector<std::unique_ptr<group>> own;

private:
  words_of_all words_;
};

} // namespace millrace::collective::testing
