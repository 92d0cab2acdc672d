#include "runtime/rules/code_text.hpp"

#include <doctest/doctest.h>

namespace code_text_test {

using millrace::rules::program_in;

TEST_CASE("the last python block is the program") {
  CHECK(program_in("First:\n```python\na = 1\n```\nBetter:\n```python\na = 2\n```\nDone.") == "a = 2\n");
  CHECK(program_in("```python\na = 1\n```\nIt prints\n```\n1\n```\n") == "a = 1\n");
  CHECK(program_in("```py title=\"a\"\na = 1\n```") == "a = 1\n");
}

TEST_CASE("without a python block, the last block is") {
  CHECK(program_in("```\na = 1\n```\n```\na = 2\n```") == "a = 2\n");
  CHECK(program_in("```cpp\nint a;\n```") == "int a;\n");
}

TEST_CASE("a block that is not closed ends with the answer, and one of a thought does not count") {
  CHECK(program_in("```python\nprint(1)\nprint(") == "print(1)\nprint(");
  CHECK(program_in("<think>```python\na = 1\n```</think>None.") == "");
  CHECK(program_in("<think>```python\na = 1\n</think>\n```python\na = 2\n```") == "a = 2\n");
}

TEST_CASE("a block in a list loses the list's indent") {
  CHECK(program_in("1. So:\n   ```python\n   if a:\n     b()\n\n   ```\n") == "if a:\n  b()\n\n");
}

TEST_CASE("an answer without a block has no program") {
  CHECK(program_in("") == "");
  CHECK(program_in("print(1)") == "");
  CHECK(program_in("``` ``") == "");
  CHECK(program_in("```python") == "");
}

} // namespace code_text_test
