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

TEST_CASE("a run that is looked at is compared with its data as it is now, and its digests stay as they are") {
  const temporary_folder scratch;
  const auto folder = run_folder::create(scratch.path() / "run");
  const auto rows = scratch.path() / "rows.jsonl", more = scratch.path() / "more.jsonl";
  write_file(rows, "{\"a\": 1}\n");
  write_file(more, "{}\n");
  const auto said_of = [&](const data_files& files) {
    try {
      want_same_data(folder.data(), files);
      return std::string();
    } catch (const millrace::input_error& error) {
      return std::string(error.what());
    }
  };
  CHECK(said_of({{"prompts", rows}}) == ""); // no digests: nobody knows
  CHECK(refusal_of(folder, {{"prompts", rows}, {"exam", more}}) == "");
  CHECK(said_of({{"prompts", rows}}) == ""); // nobody asked for the exam's
  write_file(rows, "{\"a\": 2}\n");
  const auto digests = read_file(folder.data());
  CHECK(said_of({{"prompts", rows}}).starts_with(rows.string() + " (role prompts) is not the file of the run's start"));
  CHECK(said_of({{"prompts", rows}}).ends_with("made again from the data that it read"));
  CHECK(said_of({{"exam/a", more}, {"exam/b", more}})
            .starts_with(more.string() + " (role exam/a) is not among the files of the run's start; "));
  CHECK(said_of({{"exam/a", more}}).find(more.string() + " (role exam) was among the files") != std::string::npos);
  CHECK(read_file(folder.data()) == digests);
}

TEST_CASE("a file that is not there, and damaged digests, are said in a line") {
  const temporary_folder scratch;
  const auto folder = run_folder::create(scratch.path() / "run");
  CHECK(refusal_of(folder, {{"prompts", scratch.path() / "none.jsonl"}}).find("cannot be read") != std::string::npos);
  write_file(folder.data(), "{");
  CHECK(refusal_of(folder, {}).find("damaged") != std::string::npos);
}

} // namespace data_digests_test
