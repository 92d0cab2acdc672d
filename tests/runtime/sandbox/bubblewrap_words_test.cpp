#include "runtime/sandbox/bubblewrap_words.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>

namespace bubblewrap_words_test {

using namespace millrace::sandbox;

namespace {

using words = std::vector<std::string>;

bool has(const words& all, const words& wanted) {
  return std::search(all.begin(), all.end(), wanted.begin(), wanted.end()) != all.end();
}

} // namespace

TEST_CASE("a program sees /usr, its folders, and two file systems of a bounded size") {
  const auto found = bubblewrap_words(
      "/usr/bin/bwrap", {.command = {"python3", "-c", "1"}, .most = {.disk_bytes = 4096}, .folders = {"/opt/env"}});
  CHECK(found.front() == "/usr/bin/bwrap");
  CHECK(has(found, {"--ro-bind", "/usr", "/usr"}));
  CHECK(has(found, {"--ro-bind", "/opt/env", "/opt/env"}));
  CHECK(has(found, {"--size", "4096", "--tmpfs", "/dev/shm"}));
  CHECK(has(found, {"--size", "4096", "--tmpfs", "/tmp"}));
  CHECK(has(found, {"--remount-ro", "/"}));
  CHECK_FALSE(has(found, {"--proc"}));
  CHECK(std::count(found.begin(), found.end(), "--bind") == 0); // nothing of the system can be written
}

TEST_CASE("the bound on processes is set inside, before the program") {
  const auto found = bubblewrap_words("bwrap", {.command = {"python3", "-c", "1"}, .most = {.processes = 7}});
  CHECK(has(found, {"--", "prlimit", "--nproc=7:7", "--", "python3", "-c", "1"}));
  CHECK(found.back() == "1");
}

TEST_CASE("bubblewrap is looked for in absolute folders of PATH") {
  const std::string before = std::getenv("PATH");
  ::setenv("PATH", "relative::/nowhere", 1);
  const auto found = find_bubblewrap();
  ::setenv("PATH", before.c_str(), 1);
  CHECK((found.empty() || found == "/usr/bin/bwrap" || found == "/bin/bwrap"));
}

} // namespace bubblewrap_words_test
