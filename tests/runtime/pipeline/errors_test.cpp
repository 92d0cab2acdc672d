#include "tests/runtime/pipeline/fixture.hpp"

#include <doctest/doctest.h>

using namespace millrace::test;
using lines = std::vector<std::string>;

TEST_CASE("probe") {
  for (auto& l : errors_of(valid)) MESSAGE(l);
}
