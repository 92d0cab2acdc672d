#include "tests/support/running_command.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

namespace parquet2jsonl_test {

using namespace millrace::tests;
namespace fs = std::filesystem;

namespace {

/// A pyarrow for the converter to import, whose every file holds these rows, as pyarrow gives them.
void write_pyarrow(const fs::path& folder, const std::string& rows) {
  fs::create_directory(folder / "pyarrow");
  write_file(folder / "pyarrow" / "__init__.py", "");
  write_file(folder / "pyarrow" / "parquet.py", "import datetime, decimal\n"
                                                "class ParquetFile:\n"
                                                "    def __init__(self, path):\n"
                                                "        self.schema_arrow = self\n"
                                                "        self.names = ['prompt']\n"
                                                "    def iter_batches(self):\n"
                                                "        return [self]\n"
                                                "    def to_pylist(self):\n"
                                                "        return "
                                                    + rows + "\n");
}

/// The JSONL that the converter makes of these rows.
std::string converted(const std::string& rows) {
  const temporary_folder folder;
  write_pyarrow(folder.path(), rows);
  running_command converter({"/usr/bin/env", "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=" + folder.path().string(),
                             "python3", "tools/parquet2jsonl.py", "in.parquet", folder / "out.jsonl"});
  CAPTURE(converter.err());
  CHECK(converter.wait().status == 0);
  return read_file(folder / "out.jsonl");
}

} // namespace

TEST_CASE("parquet2jsonl writes null for what JSON has no number for, at every depth") {
  CHECK(converted("[{'prompt': 'q', 'answer': float('nan')},"
                  " {'prompt': 'q', 'extra_info': {'rate': float('nan'), 'rates': [0.5, float('-inf')],"
                  "  'pairs': [('k', float('inf'))]}}]")
        == R"({"prompt": "q", "answer": null}
{"prompt": "q", "extra_info": {"rate": null, "rates": [0.5, null], "pairs": [["k", null]]}}
)");
}

TEST_CASE("parquet2jsonl keeps numbers, texts and times as they are") {
  CHECK(converted("[{'prompt': 'é\"', 'answer': 42.0, 'n': 7, 'none': None, 'yes': True,"
                  " 'exact': decimal.Decimal('1.50'), 'when': datetime.datetime(2026, 1, 1)}]")
        == R"({"prompt": "é\"", "answer": 42.0, "n": 7, "none": null, "yes": true, "exact": "1.50", )"
           "\"when\": \"2026-01-01 00:00:00\"}\n");
}

} // namespace parquet2jsonl_test
