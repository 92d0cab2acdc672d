#include "runtime/run_files/step_lines.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

namespace step_lines_test {

using namespace millrace;
using namespace millrace::run_files;

TEST_CASE("lines are kept up to a step, and a torn or foreign line ends what is read") {
  tests::temporary_folder here;
  const auto path = here / "lines.jsonl";
  CHECK(read_step_lines(path).empty());
  {
    step_lines lines(path, 0);
    lines.append(R"({"step":1,"a":[2]})");
    lines.append(R"({"step":2})");
    lines.append(R"({"step":3})");
  }
  CHECK(read_step_lines(path).size() == 3);
  { step_lines resumed(path, 1); }
  CHECK(tests::read_file(path) == "{\"step\":1,\"a\":[2]}\n");
  tests::write_file(path, "{\"step\":1}\n{\"stop\":2}\n{\"step\":3}\n");
  CHECK(read_step_lines(path) == std::vector<std::string>{R"({"step":1})"});
  tests::write_file(path, "{\"step\":1}\n{\"step\":2");
  { step_lines resumed(path, 5); }
  CHECK(tests::read_file(path) == "{\"step\":1}\n");
}

} // namespace step_lines_test
