#include "runtime/data/source.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <iostream>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace parquet_test {

using namespace millrace;
using namespace millrace::data;
using tests::read_file;
using tests::temporary_folder;
using tests::write_file;

namespace {

namespace fs = std::filesystem;

/// A pyarrow whose files are Python: `groups`, a list of row groups, each a list of rows. A row that is a function is
/// called when it is read.
constexpr const char* stand_in = R"(
import math, os, sys, time
class Table:
    def __init__(self, rows):
        self.rows, self.nbytes, self.num_rows = rows, 1000, len(rows)
    def slice(self, start, count):
        return Table(self.rows[start:start + count])
    def to_pylist(self):
        return [row() if callable(row) else row for row in self.rows]
class ParquetFile:
    def __init__(self, path):
        known = dict(globals())
        exec(open(path).read(), known)
        self.groups = [Table(group) for group in known["groups"]]
        self.schema_arrow = self.metadata = self
        self.names, self.num_row_groups = known.get("names", ["prompt", "answer"]), len(self.groups)
    def row_group(self, group):
        return self.groups[group]
    def read_row_group(self, group, use_threads):
        return self.groups[group]
)";

/// A folder with a Python that imports the stand-in, and a file for it.
class stand_in_file {
public:
  explicit stand_in_file(const std::string& text) {
    fs::create_directory(folder_ / "pyarrow");
    write_file(folder_ / "pyarrow/__init__.py", "");
    write_file(folder_ / "pyarrow/parquet.py", stand_in);
    write_file(folder_ / "python",
               "#!/bin/sh\nPYTHONDONTWRITEBYTECODE=1 PYTHONPATH=" + folder_.path().string() + " exec python3 \"$@\"\n");
    fs::permissions(folder_ / "python", fs::perms::owner_all);
    write_file(path(), text);
  }

  fs::path path() const { return folder_ / "rows.parquet"; }

  python_settings python(std::chrono::milliseconds patience = std::chrono::minutes(1)) const {
    return {.program = folder_ / "python", .patience = patience};
  }

  std::string lost(const std::string& how) const {
    return ": the Python that reads it (" + (folder_ / "python").string() + ") was lost: " + how;
  }

  std::string at(int row) const { return path().string() + ":row " + std::to_string(row); }

private:
  temporary_folder folder_;
};

std::string text_of(row_file& file, std::uint64_t which) {
  const auto found = file.read(which, [] { return std::vector<std::uint64_t>(); });
  return found.why.empty() ? std::string(found.text) : "bad: " + found.why;
}

std::string error_of(const fs::path& file, const python_settings& python) {
  try {
    open_parquet(file, python);
  } catch (const input_error& error) {
    return error.what();
  }
  return "";
}

constexpr const char* ten_rows =
    "groups = [[{'prompt': f'p{i}', 'answer': str(i)} for i in range(a, b)] for a, b in ((0, 4), (4, 4), (4, 10))]\n";

file_options options_of(const stand_in_file& file, std::uint64_t epochs) {
  return {.shuffle = true, .seed = 5, .epochs = epochs, .python = file.python()};
}

} // namespace

TEST_CASE("a Parquet row becomes JSON: null for what JSON has no number for, at every depth; the rest as it is") {
  const stand_in_file file("import datetime, decimal\n"
                           "nan, inf = float('nan'), float('inf')\n"
                           "groups = [[{'a': nan, 'b': {'c': [0.5, -inf], 'd': [('k', inf)]}},\n"
                           " {'a': 'é\"', 'b': 42.0, 'c': 7, 'd': None, 'e': True, 'f': decimal.Decimal('1.50'),\n"
                           "  'g': datetime.datetime(2026, 1, 1), 'h': b'text', 'i': b'\\xff\\x00'}]]\n");
  const auto rows = open_parquet(file.path(), file.python());
  CHECK(rows->rows() == 2);
  CHECK(text_of(*rows, 0) == R"({"a": null, "b": {"c": [0.5, null], "d": [["k", null]]}})");
  CHECK(text_of(*rows, 1)
        == R"({"a": "é\"", "b": 42.0, "c": 7, "d": null, "e": true, "f": "1.50", "g": "2026-01-01 00:00:00", )"
           R"("h": "text", "i": null})");
}

TEST_CASE("rows of all row groups come once an epoch, in an order of the seed, and go on from a saved position") {
  const stand_in_file file(ten_rows);
  const auto source = open_file(file.path(), options_of(file, 3), {});
  std::vector<row> rows;
  std::vector<position> places;
  for (places.push_back(source->save()); auto r = source->next(); places.push_back(source->save()))
    rows.push_back(*r);
  REQUIRE(rows.size() == 30);
  for (std::size_t epoch = 0; epoch < 3; ++epoch) {
    std::set<std::string> answers;
    for (std::size_t i = 0; i < 10; ++i)
      answers.insert(rows[10 * epoch + i].answer);
    CHECK(answers.size() == 10);
  }
  CHECK(rows[0].where == file.at(std::stoi(rows[0].answer) + 1));
  const auto again = open_file(file.path(), options_of(file, 3), {});
  again->restore(places[17]);
  CHECK(again->next().value() == rows[17]);
}

TEST_CASE("a row over which pyarrow raises, dies or hangs is skipped and named; the others are read") {
  const stand_in_file file("def fails():\n    raise ValueError('page 3 is damaged\\nmore')\n"
                           "groups = [[{'prompt': 'a', 'answer': '1'}, fails, os.abort, lambda: time.sleep(600),\n"
                           "  {'prompt': None, 'answer': '5'}, {'prompt': 'f', 'answer': '6'}]]\n");
  std::vector<std::string> said;
  file_options options = options_of(file, 1);
  options.shuffle = false;
  options.python = file.python(std::chrono::milliseconds(1500));
  const auto source = open_file(file.path(), options, [&](const std::string& line) { said.push_back(line); });
  CHECK(source->next().value().answer == "1");
  CHECK(source->next().value().answer == "6");
  CHECK_FALSE(source->next());
  REQUIRE(said.size() == 4);
  CHECK(said[0] == file.at(2) + ": cannot be read: page 3 is damaged");
  CHECK(said[1] == file.at(3) + file.lost("the process ended by signal 6 (Aborted)"));
  CHECK(said[2] == file.at(4) + file.lost("no reply before the deadline"));
  CHECK(said[3].starts_with(file.at(5) + ": no prompt, want text"));
}

TEST_CASE("a process that dies over every row ends the reading with one line") {
  const stand_in_file file("groups = [[os.abort] * 100]\n");
  const auto source = open_file(file.path(), options_of(file, 0), {});
  CHECK_THROWS_WITH_AS(source->next(), doctest::Contains("the process ended by signal 6 (Aborted), for the 8th time"),
                       input_error);
}

TEST_CASE("what a library prints is no row, and a row longer than 16 MiB is skipped") {
  const stand_in_file file("def loud():\n    print('row 0 3\\nabc', flush=True)\n    return {'a': 1}\n"
                           "groups = [[loud, {'a': 'x' * (10 << 20)}, {'a': 'x' * (16 << 20)}]]\n");
  const auto rows = open_parquet(file.path(), file.python());
  CHECK(text_of(*rows, 0) == R"({"a": 1})");
  CHECK(text_of(*rows, 1).size() == (10 << 20) + 9);
  CHECK(text_of(*rows, 2) == "bad: found 16777225 bytes, want at most 16 MiB a row");
}

TEST_CASE("what keeps a Parquet file from being read is told in one line") {
  const stand_in_file file("groups = []\n"), broken("raise OSError('magic bytes not found in footer\\nmore')\n"),
      dies("os._exit(3)\n"), hangs("time.sleep(600)\n"), none("raise ImportError('No module named pyarrow')\n");
  CHECK(error_of(file.path(), file.python()) == file.path().string() + ": found no row, want at least one");
  CHECK(error_of(broken.path(), broken.python())
        == broken.path().string() + ": magic bytes not found in footer, want a Parquet file");
  CHECK(error_of(dies.path(), dies.python())
        == dies.path().string() + dies.lost("while it starts: the process ended with exit status 3")
               + ", want a Python with pyarrow");
  CHECK(error_of(hangs.path(), hangs.python(std::chrono::milliseconds(500)))
        == hangs.path().string() + hangs.lost("while it starts: no reply before the deadline")
               + ", want a Python with pyarrow");
  CHECK(error_of(none.path(), none.python()).find("want it: python3 -m venv env && env/bin/pip install pyarrow")
        != std::string::npos);
  CHECK(error_of(file.path(), {.program = "/none/python3"})
        == file.path().string()
               + ": the Python that reads it (/none/python3) was lost: while it starts: the program cannot be started "
                 "(exit status 127), want a Python with pyarrow");
}

TEST_CASE("a file of columns of other names is told at the start with those that it has") {
  const stand_in_file file("names = ['question', 'answer']\ngroups = [[{'question': 'a', 'answer': '1'}]]\n");
  CHECK_THROWS_WITH_AS(open_file(file.path(), options_of(file, 1), {}),
                       (file.path().string()
                        + ": found columns question, answer, want one named prompt, messages or "
                          "chosen (docs/rows.md)")
                           .c_str(),
                       input_error);
}

namespace {

/// Writes Parquet by each library that this Python has: nested structs, lists, dictionary pages, zstd, large strings,
/// a null prompt; then a file cut short. Prints the names of the files.
constexpr const char* writer = R"python(
import sys, os
import pyarrow as pa, pyarrow.parquet as pq
folder = sys.argv[1]
rows = [{"prompt": [{"role": "user", "content": f"q{i}" * (1 + 1000 * (i == 7))}] if i != 3 else None,
         "data_source": ["a", "b"][i % 2], "reward_model": {"style": "rule", "ground_truth": str(i)},
         "extra_info": {"index": i, "tests": [{"in": [1.5, float("nan")], "out": None}]}} for i in range(2500)]
message = pa.struct([("role", pa.string()), ("content", pa.large_string())])
schema = pa.schema([("prompt", pa.large_list(message)), ("data_source", pa.dictionary(pa.int32(), pa.string())),
                    ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
                    ("extra_info", pa.struct([("index", pa.int64()), ("tests", pa.list_(pa.struct(
                        [("in", pa.list_(pa.float64())), ("out", pa.string())])))]))])
table = pa.Table.from_pylist(rows, schema=schema)
made = ["pyarrow"]
pq.write_table(table, folder + "/pyarrow.parquet", compression="zstd", row_group_size=700)
try:
    import polars
    polars.from_arrow(table).write_parquet(folder + "/polars.parquet", compression="snappy", row_group_size=700)
    made.append("polars")
except ImportError:
    pass
try:
    import duckdb
    duckdb.sql(f"copy (from '{folder}/pyarrow.parquet') to '{folder}/duckdb.parquet' (compression zstd)")
    made.append("duckdb")
except ImportError:
    pass
whole = open(folder + "/pyarrow.parquet", "rb").read()
open(folder + "/cut.parquet", "wb").write(whole[:len(whole) // 2])
start = pq.ParquetFile(folder + "/pyarrow.parquet").metadata.row_group(1).column(1).data_page_offset
open(folder + "/damaged.parquet", "wb").write(whole[:start] + b"\xff" * 400 + whole[start + 400:])
open(folder + "/made", "w").write(" ".join(made))
)python";

/// A Python with pyarrow: MILLRACE_PYARROW_PYTHON, else the first python3 of PATH that has it; "" = none.
std::string python_with_pyarrow() {
  std::vector<std::string> pythons;
  if (const char* named = std::getenv("MILLRACE_PYARROW_PYTHON")) {
    pythons.emplace_back(named);
  } else {
    std::istringstream folders(std::getenv("PATH"));
    for (std::string folder; std::getline(folders, folder, ':');)
      if (std::error_code ignored; fs::exists(fs::path(folder) / "python3", ignored))
        pythons.push_back((fs::path(folder) / "python3").string());
  }
  for (const auto& python : pythons)
    if (std::system(("'" + python + "' -c 'import pyarrow.parquet' 2>/dev/null").c_str()) == 0)
      return python;
  return "";
}

} // namespace

TEST_CASE("files that pyarrow, polars and duckdb wrote are read whole; injured ones are told") {
  const std::string python = python_with_pyarrow();
  if (python.empty()) {
    std::cout << "skipped: no python3 of PATH has pyarrow (MILLRACE_PYARROW_PYTHON names one)\n";
    return;
  }
  const temporary_folder folder;
  write_file(folder / "writer.py", writer);
  REQUIRE(std::system((python + " " + (folder / "writer.py").string() + " " + folder.path().string()).c_str()) == 0);
  std::istringstream made(read_file(folder / "made"));
  for (std::string library; made >> library;) {
    CAPTURE(library);
    std::vector<std::string> said;
    const auto source = open_file(folder / (library + ".parquet"),
                                  {.shuffle = true, .seed = 3, .epochs = 1, .python = {.program = python}},
                                  [&](const std::string& line) { said.push_back(line); });
    std::set<std::string> answers;
    while (const auto r = source->next()) {
      answers.insert(r->answer);
      const std::string n = r->answer;
      CHECK(r->prompt.at(0).content.starts_with("q" + n));
      CHECK(r->data_source == (std::stoi(n) % 2 ? "b" : "a"));
      CHECK(r->extra == R"({"index":)" + n + R"(,"tests":[{"in":[1.5,null],"out":null}]})");
    }
    CHECK(answers.size() == 2499);
    REQUIRE(said.size() == 1);
    CHECK(said[0].find(".parquet:row 4: no prompt") != std::string::npos);
  }
  CHECK(error_of(folder / "cut.parquet", {.program = python}).find("want a Parquet file") != std::string::npos);
  CHECK(error_of(folder / "none.parquet", {.program = python}).find("none.parquet: ") != std::string::npos);
  std::uint64_t usable = 0;
  const auto damaged = open_file(folder / "damaged.parquet",
                                 {.shuffle = true, .seed = 3, .epochs = 1, .python = {.program = python}}, {});
  while (damaged->next())
    ++usable;
  CHECK(usable == 2499 - 700);
  CHECK(damaged->skipped() == 701);
}

} // namespace parquet_test
