#include "runtime/run_files/data_digests.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <string>

namespace data_digests_test {

using namespace millrace::run_files;
using millrace::tests::read_file;
using millrace::tests::temporary_folder;
using millrace::tests::write_file;

namespace {

std::string refusal_of(const run_folder& folder, const data_files& files) {
  try {
    hold_data(folder, files, changed_data::refused);
    return "";
  } catch (const millrace::input_error& error) {
    return error.what();
  }
}

} // namespace

TEST_CASE("a run is held to its data: another file of as many bytes is refused by name, until it is accepted") {
  const temporary_folder scratch;
  const auto folder = run_folder::create(scratch.path() / "run");
  const auto rows = scratch.path() / "rows.jsonl", held_out = scratch.path() / "held_out.jsonl";
  write_file(rows, "{\"a\": 1}\n");
  write_file(held_out, "{}\n");
  const data_files files{{"prompts", rows}, {"exam", held_out}};
  CHECK(refusal_of(folder, files) == "");
  CHECK(refusal_of(folder, files) == "");

  write_file(rows, "{\"a\": 2}\n");
  const auto line = refusal_of(folder, files);
  CHECK(line.find(rows.string() + " (role prompts) is not the file of the run's start") != std::string::npos);
  CHECK(line.find("--accept-data") != std::string::npos);
  CHECK(line.find("held_out") == std::string::npos);

  hold_data(folder, files, changed_data::accepted);
  CHECK(refusal_of(folder, files) == "");
  write_file(rows, "{\"a\": 1}\n");
  CHECK(refusal_of(folder, files) != "");
}

TEST_CASE("a moved file with the same bytes is the same data, and a role may come later") {
  const temporary_folder scratch;
  const auto folder = run_folder::create(scratch.path() / "run");
  write_file(scratch.path() / "a.jsonl", "{}\n");
  write_file(scratch.path() / "b.jsonl", "{}\n");
  CHECK(refusal_of(folder, {{"prompts", scratch.path() / "a.jsonl"}}) == "");
  CHECK(refusal_of(folder, {{"prompts", scratch.path() / "b.jsonl"}, {"exam", scratch.path() / "a.jsonl"}}) == "");
  write_file(scratch.path() / "a.jsonl", "{ }\n");
  CHECK(refusal_of(folder, {{"exam", scratch.path() / "a.jsonl"}}) != "");
}

TEST_CASE("a file that is not there, and damaged digests, are said in a line") {
  const temporary_folder scratch;
  const auto folder = run_folder::create(scratch.path() / "run");
  CHECK(refusal_of(folder, {{"prompts", scratch.path() / "none.jsonl"}}).find("cannot be read") != std::string::npos);
  write_file(folder.data(), "{");
  CHECK(refusal_of(folder, {}).find("damaged") != std::string::npos);
}

} // namespace data_digests_test
