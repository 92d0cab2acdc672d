#include "runtime/words/byte_count.hpp"

#include <doctest/doctest.h>

namespace byte_count_test {

using namespace millrace;

namespace {

std::int64_t bytes_of(std::string_view text) {
  return byte_count_of(text).value_or(byte_count{-1}).bytes;
}

} // namespace

TEST_CASE("byte counts are read with their units") {
  CHECK(bytes_of("24 GiB") == 25769803776);
  CHECK(bytes_of("1.5 GB") == 1500000000);
  CHECK(bytes_of("512MiB") == 536870912);
  CHECK(bytes_of("10 kb") == 10000);
  CHECK(bytes_of("0 B") == 0);
  CHECK(bytes_of("0.5 B") == 0);
  for (const char* none : {"", "GiB", "12", "-1 GB", "1e3 GB", "1 GiBs", "nan GB", "inf GB", "99999 TiB", "1,5 GB"}) {
    CAPTURE(none);
    CHECK(bytes_of(none) == -1);
  }
}

TEST_CASE("byte counts are written as they are read") {
  CHECK(in_words(byte_count{25769803776}) == "24 GiB");
  CHECK(in_words(byte_count{1500000000}) == "1500 MB");
  CHECK(in_words(byte_count{1234567}) == "1234567 B");
  CHECK(in_words(byte_count{0}) == "0 B");
  for (const std::int64_t bytes : {0, 1, 1024, 1000000, 1 << 30})
    CHECK(byte_count_of(in_words(byte_count{bytes})) == byte_count{bytes});
}

} // namespace byte_count_test
