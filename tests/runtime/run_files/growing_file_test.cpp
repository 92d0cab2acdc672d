#include "runtime/run_files/growing_file.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>
#include <sys/resource.h>

#include <csignal>
#include <string>

namespace growing_file_test {

using namespace millrace::run_files;
using millrace::tests::read_file;
using millrace::tests::temporary_folder;

namespace {

/// A disk with room for files of so many bytes.
class small_disk {
public:
  explicit small_disk(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before_);
    rlimit now = before_;
    now.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &now);
  }

  ~small_disk() { setrlimit(RLIMIT_FSIZE, &before_); }

private:
  rlimit before_{};
};

} // namespace

TEST_CASE("records that a full disk refuses are kept, and go out in order once there is room") {
  const temporary_folder scratch;
  growing_file file(scratch / "lines");
  file.append("one\n");
  {
    const small_disk full(6);
    CHECK_THROWS_AS(file.append("two\n"), storage_error);
    CHECK_THROWS_AS(file.append("three\n"), storage_error);
    CHECK(file.waiting() == 10);
    CHECK(read_file(scratch / "lines") == "one\n");
  }
  file.append("four\n");
  CHECK(file.waiting() == 0);
  CHECK(read_file(scratch / "lines") == "one\ntwo\nthree\nfour\n");
}

} // namespace growing_file_test
