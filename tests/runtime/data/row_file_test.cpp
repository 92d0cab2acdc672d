#include "runtime/data/row_file.hpp"
#include "runtime/data/source.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>

namespace row_file_test {

using namespace millrace;
using namespace millrace::data;
using tests::temporary_folder;
using tests::write_file;

namespace {

namespace fs = std::filesystem;

std::string numbered(int from, int to) {
  std::string text;
  for (int i = from; i < to; ++i)
    text += R"({"prompt": "p", "answer": )" + std::to_string(i) + "}\n";
  return text;
}

std::string zstd_of(const std::string& text) {
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 3));
  return packed;
}

void write_gz(const fs::path& path, const std::string& text) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
}

std::string answers_of(const fs::path& path) {
  std::string answers;
  const auto source = open_file(path, {.shuffle = false, .epochs = 1}, {});
  while (const auto r = source->next())
    answers += r->answer + " ";
  return answers;
}

std::string error_of(const fs::path& path) {
  try {
    open_rows(path, {});
  } catch (const input_error& error) {
    return error.what();
  }
  return "";
}

} // namespace

TEST_CASE("a folder or a pattern is all its files by name, as one") {
  const temporary_folder folder;
  write_file(folder / "b.jsonl", numbered(2, 4));
  write_file(folder / "a.jsonl.zst", zstd_of(numbered(0, 2)));
  write_gz(folder / "c.jsonl.gz", numbered(4, 5));
  write_file(folder / "README.md", "no rows");
  CHECK(answers_of(folder.path()) == "0 1 2 3 4 ");
  CHECK(answers_of(folder / "[bc].*") == "2 3 4 ");
  const auto rows = open_rows(folder.path(), {});
  CHECK(rows->rows() == 5);
  CHECK(rows->where(3) == (folder / "b.jsonl").string() + ":2");
  CHECK(rows->where(4) == (folder / "c.jsonl.gz").string() + ":1");
  CHECK(error_of(folder / "*.txt") == (folder / "*.txt").string() + ": found no file that matches, want at least one");
  fs::create_directory(folder / "empty");
  CHECK(error_of(folder / "empty").find("found no file of rows in the folder") != std::string::npos);
}

TEST_CASE("a file whose name holds a bracket is that file") {
  const temporary_folder folder;
  write_file(folder / "rows[1].jsonl", numbered(7, 8));
  CHECK(answers_of(folder / "rows[1].jsonl") == "7 ");
}

TEST_CASE("packed files of many blocks and several frames are read whole, and leave nothing behind") {
  const temporary_folder folder;
  const std::string text = numbered(0, 100'000);
  write_file(folder / "a.jsonl.zst", zstd_of(text) + zstd_of(numbered(7, 8)));
  write_gz(folder / "b.jsonl.gz", text);
  CHECK(open_rows(folder / "a.jsonl.zst", {})->rows() == 100'001);
  CHECK(open_rows(folder / "b.jsonl.gz", {})->rows() == 100'000);
  const auto left =
      std::count_if(fs::directory_iterator(fs::temp_directory_path()), fs::directory_iterator(),
                    [](const auto& entry) { return entry.path().filename().string().starts_with("millrace-rows-"); });
  CHECK(left == 0);
}

TEST_CASE("a packed file that is damaged or cut short is told in one line") {
  const temporary_folder folder;
  const std::string packed = zstd_of(numbered(0, 1000));
  write_file(folder / "cut.jsonl.zst", packed.substr(0, packed.size() / 2));
  write_file(folder / "no.jsonl.zst", numbered(0, 3));
  write_gz(folder / "whole.gz", numbered(0, 1000));
  const std::string gz = tests::read_file(folder / "whole.gz");
  write_file(folder / "cut.jsonl.gz", gz.substr(0, gz.size() / 2));
  for (const char* name : {"cut.jsonl.zst", "no.jsonl.zst", "cut.jsonl.gz"}) {
    CAPTURE(name);
    CHECK(error_of(folder / name).starts_with((folder / name).string() + ": damaged or cut short ("));
  }
  CHECK(error_of(folder / "none.jsonl.zst").find("cannot be opened") != std::string::npos);
}

} // namespace row_file_test
