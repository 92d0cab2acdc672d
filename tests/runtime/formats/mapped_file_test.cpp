#include "runtime/formats/mapped_file.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <fstream>
#include <numeric>
#include <sstream>
#include <string>

namespace mapped_file_test {

using namespace millrace;

namespace {

constexpr std::size_t mebibyte = std::size_t{1} << 20;

/// Bytes of files that count as memory of this process.
std::int64_t file_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);)
    if (std::istringstream words(line.substr(line.find(':') + 1)); line.starts_with("RssFile:")) {
      std::int64_t kibibytes = 0;
      words >> kibibytes;
      return kibibytes * 1024;
    }
  return 0;
}

std::uint64_t sum_of(std::span<const std::byte> bytes) {
  return std::accumulate(bytes.begin(), bytes.end(), std::uint64_t{0},
                         [](std::uint64_t sum, std::byte one) { return sum + std::to_integer<std::uint64_t>(one); });
}

} // namespace

TEST_CASE("what is let go of no longer counts as memory, whatever the page it begins in, and can be read again") {
  const tests::temporary_folder folder;
  tests::write_file(folder / "file", std::string(32 * mebibyte, '\3'));
  const formats::mapped_file file(folder / "file");
  const auto before = file_bytes();
  CHECK(sum_of(file.bytes()) == 96 * mebibyte);
  CHECK(file_bytes() - before >= static_cast<std::int64_t>(31 * mebibyte));
  file.let_go(file.bytes().first(0));
  CHECK(file_bytes() - before >= static_cast<std::int64_t>(31 * mebibyte));
  const auto most = file.bytes().subspan(100, 31 * mebibyte);
  file.let_go(most);
  CHECK(file_bytes() - before <= static_cast<std::int64_t>(2 * mebibyte));
  CHECK(sum_of(most) == 93 * mebibyte);
}

} // namespace mapped_file_test
