#include "runtime/run_files/storage.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace storage_test {

using namespace millrace::run_files;
using millrace::tests::temporary_folder;

TEST_CASE("sizes are read at a glance") {
  CHECK(in_bytes(0) == "0 bytes");
  CHECK(in_bytes(999) == "999 bytes");
  CHECK(in_bytes(1000) == "1.0 KB");
  CHECK(in_bytes(1'620'000'000) == "1.6 GB");
  CHECK(in_bytes(312'400) == "312 KB");
  CHECK(in_bytes(999'700) == "1.0 MB");
}

TEST_CASE("a record that does not fit is not there in part") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "a";
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{100, 100};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const auto file = open_to_append(path);
    append_whole(file, std::string(60, 'a'), path);
    try {
      append_whole(file, std::string(60, 'b'), path);
    } catch (const storage_error&) {
      append_whole(file, std::string(40, 'c'), path);
      ::_exit(0);
    }
    ::_exit(1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(read_file(path) == std::string(60, 'a') + std::string(40, 'c'));
}

TEST_CASE("a replacement that fails leaves the old file and no other") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "a";
  replace_file(path, "old");
  const pid_t child = ::fork();
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{10, 10};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    try {
      replace_file(path, std::string(20, 'n'));
    } catch (const storage_error&) {
      ::_exit(0);
    }
    ::_exit(1);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  CHECK(status == 0);
  CHECK(read_file(path) == "old");
  CHECK(std::distance(std::filesystem::directory_iterator{scratch.path()}, std::filesystem::directory_iterator{}) == 1);
}

TEST_CASE("what cannot be opened is named with its reason") {
  const temporary_folder scratch;
  const auto path = scratch.path() / "none/a";
  CHECK_THROWS_WITH_AS(read_file(path), ("cannot open " + path.string() + ": No such file or directory").c_str(),
                       storage_error);
  CHECK_THROWS_AS(write_all(descriptor{::dup(1)}.get() + 1000, "x", path), storage_error);
}

} // namespace storage_test
