#include "runtime/data/source.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <set>

namespace file_source_test {

using namespace millrace;
using namespace millrace::data;

namespace {

/// A file of its own, removed at the end.
class jsonl {
public:
  explicit jsonl(const std::string& text) {
    static std::atomic<int> count = 0;
    folder_ = std::filesystem::temp_directory_path()
              / ("millrace_data_" + std::to_string(::getpid()) + '_' + std::to_string(count++));
    std::filesystem::create_directories(folder_);
    path_ = folder_ / "rows.jsonl";
    std::ofstream(path_, std::ios::binary) << text;
  }

  ~jsonl() { std::filesystem::remove_all(folder_); }

  jsonl(const jsonl&) = delete;
  jsonl& operator=(const jsonl&) = delete;

  const std::filesystem::path& path() const { return path_; }

  std::string at(int line) const { return path_.string() + ':' + std::to_string(line); }

private:
  std::filesystem::path folder_, path_;
};

std::string numbered(int count) {
  std::string text;
  for (int i = 0; i < count; ++i)
    text += R"({"prompt": "p)" + std::to_string(i) + R"(", "answer": )" + std::to_string(i) + "}\n";
  return text;
}

std::vector<std::string> answers(source& s, int count) {
  std::vector<std::string> found;
  for (int i = 0; i < count; ++i)
    if (auto r = s.next())
      found.push_back(r->answer);
  return found;
}

file_options in_order(std::uint64_t epochs = 1) {
  return {false, 1, epochs, ""};
}

std::string why(const std::string& line) {
  const jsonl file(line + "\n" + numbered(1));
  std::vector<std::string> said;
  auto s = open_file(file.path(), in_order(), [&](const std::string& l) { said.push_back(l); });
  CHECK(s->next()->answer == "0");
  CHECK(s->skipped() == 1);
  REQUIRE(said.size() == 1);
  REQUIRE(said[0].starts_with(file.at(1) + ": "));
  return said[0].substr(file.at(1).size() + 2);
}

} // namespace

TEST_CASE("verl's row: messages, ground truth, source and extra") {
  const jsonl file(
      R"({"data_source": "openai/gsm8k", "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": )"
      R"("é?"}], )"
      R"("ability": "math", "reward_model": {"style": "rule", "ground_truth": "72"}, "extra_info": {"index": 3}})");
  const row r = open_file(file.path(), in_order(), {})->next().value();
  CHECK(r.prompt == std::vector<chat_turn>{{"system", "s"}, {"user", "é?"}});
  CHECK(r.answer == "72");
  CHECK(r.data_source == "openai/gsm8k");
  CHECK(r.extra == R"({"index":3})");
  CHECK(r.index == 0);
  CHECK(r.where == file.at(1));
}

TEST_CASE("the answer may stand under other names, as text or number") {
  const jsonl file(R"({"prompt": "a", "answer": "1"}
{"prompt": "b", "solution": "2"}
{"prompt": "c", "ground_truth": 3}
{"prompt": "d", "answer": 4.5, "solution": "not this"}
{"prompt": "e", "answer": "not this", "reward_model": {"ground_truth": "5"}}
{"prompt": "f", "answer": null, "solution": "6"}
)");
  auto s = open_file(file.path(), in_order(), {});
  CHECK(answers(*s, 7) == std::vector<std::string>{"1", "2", "3", "4.5", "5", "6"});
  CHECK_FALSE(s->next());
}

TEST_CASE("numbers keep the digits that they are written with, as answers and in extra_info") {
  const jsonl file(R"({"prompt": "a", "answer": 123456789012345678901234567890}
{"prompt": "b", "answer": 3.14159265358979323846}
{"prompt": "c", "answer": 1.10}
{"prompt": "d", "reward_model": {"ground_truth": -9223372036854775809}, "extra_info": {"rate": 0.50, "n": [1e3, 2]}}
{"prompt": "e", "chosen": "x", "rejected": "y", "margin": 0.50}
)");
  auto s = open_file(file.path(), in_order(), {});
  CHECK(answers(*s, 3) == std::vector<std::string>{"123456789012345678901234567890", "3.14159265358979323846", "1.10"});
  const row fourth = s->next().value();
  CHECK(fourth.answer == "-9223372036854775809");
  CHECK(fourth.extra == R"({"n":[1e3,2],"rate":0.50})");
  CHECK(s->next().value().margin == 0.5);
}

TEST_CASE("an expected answer may be any JSON: rules that compare texts see it as it is written") {
  const jsonl file(R"({"prompt": "a", "answer": "[1]"}
{"prompt": "b", "answer": 1.10}
{"prompt": "c", "reward_model": {"ground_truth": {"cases": [1, 2.50], "ok": true}}}
{"prompt": "d", "answer": []}
{"prompt": "e", "answer": false}
)");
  auto s = open_file(file.path(), in_order(), {});
  const std::vector<std::pair<std::string, std::string>> wanted{
      {"[1]", ""},
      {"1.10", "1.10"},
      {R"({"cases":[1,2.50],"ok":true})", R"({"cases":[1,2.50],"ok":true})"},
      {"[]", "[]"},
      {"false", "false"}};
  for (const auto& [answer, ground_truth] : wanted) {
    const row found = s->next().value();
    CHECK(found.answer == answer);
    CHECK(found.ground_truth == ground_truth);
  }
}

TEST_CASE("a row that cannot be used is skipped and named") {
  CHECK(why(R"({"prompt": "x"})")
        == "no answer, want one under reward_model.ground_truth, answer, solution or ground_truth");
  CHECK(why(R"({"prompt": "x", "answer": ""})")
        == "no answer, want one under reward_model.ground_truth, answer, solution or ground_truth");
  CHECK(why(R"({"answer": "1"})") == "no prompt, want text or a list of messages {role, content} under \"prompt\"");
  CHECK(why(R"({"prompt": "", "answer": "1"})") == "prompt: found no text, want some");
  CHECK(why(R"({"prompt": [], "answer": "1"})")
        == "prompt: found an empty list, want text or a list of messages {role, content}");
  CHECK(why(R"({"prompt": 7, "answer": "1"})")
        == "prompt: found number, want text or a list of messages {role, content}");
  CHECK(why(R"({"prompt": [{"role": "user"}], "answer": "1"})")
        == "prompt: found a message without role or content as text, want {role, content}");
  CHECK(why("[1, 2]") == "found array, want a JSON object");
  CHECK(why("{\"prompt\": \"\xff\", \"answer\": \"1\"}").starts_with("not UTF-8: 1:13: "));
  CHECK(why("{\"prompt\": \"\xed\xa0\x80\", \"answer\": \"1\"}").find("not UTF-8") != std::string::npos);
  CHECK(why(R"({"prompt": "x", "answer": "1")").starts_with("not JSON: "));
  CHECK(why("prompt,answer").starts_with("not JSON: "));
  CHECK(why(R"({"prompt": "x", "answer": 1e999})").starts_with("not JSON: "));
  CHECK(why(R"({"prompt": "x", "answer": "1", "extra_info": )" + std::string(100000, '[') + std::string(100000, ']')
            + "}")
        == "JSON nested deeper than 64");
  CHECK(why(std::string((16 << 20) + 1, 'x')) == "found 16777217 bytes, want at most 16 MiB a row");
}

TEST_CASE("a row of another data set's columns is named with what to write for it") {
  const std::string no_prompt = "no prompt, want text or a list of messages {role, content} under \"prompt\"";
  CHECK(why(R"({"question": "x", "answer": "#### 1"})")
        == no_prompt + "; found \"question\": say columns = { prompt = \"question\" } (docs/rows.md)");
  CHECK(why(R"({"problem": "x", "solution": "1"})")
        == no_prompt + "; found \"problem\": say columns = { prompt = \"problem\" } (docs/rows.md)");
  CHECK(why(R"({"prompt": "x", "final_answer": 1})")
        == "no answer, want one under reward_model.ground_truth, answer, solution or ground_truth; found "
           "\"final_answer\": say columns = { answer = \"final_answer\" } (docs/rows.md)");
}

TEST_CASE("columns of other names are read where they are named, inside an object too") {
  const jsonl file(R"({"question": "a", "gold": {"short": 7}, "reward_model": {"ground_truth": "no"}, "src": "s"})"
                   "\n"
                   R"({"question": "b", "gold": {}, "src": "s"})"
                   "\n"
                   R"({"question": "c", "gold.short": "9", "src": null, "answer": "no"})"
                   "\n");
  file_options options = in_order();
  options.columns = {{"prompt", "question"}, {"answer", "gold.short"}};
  std::vector<std::string> said;
  auto s = open_file(file.path(), options, [&](const std::string& line) { said.push_back(line); });
  const row first = s->next().value();
  CHECK(first.prompt == std::vector<chat_turn>{{"user", "a"}});
  CHECK(first.answer == "7");
  CHECK(s->next().value().answer == "9");
  CHECK_FALSE(s->next());
  CHECK(said == std::vector<std::string>{file.at(2) + ": no 'gold.short', want it as the column of answer"});
}

TEST_CASE("OpenRLHF's rows: input with label, output or a pair, messages before the input, datasource") {
  const jsonl file(R"({"input": "a", "label": "1", "datasource": "d"}
{"input": "b", "output": "2"}
{"context_messages": [{"role": "user", "content": "c"}], "chosen": "3", "rejected": "4"}
)");
  using turns = std::vector<chat_turn>;
  auto s = open_file(file.path(), in_order(), {});
  const row labelled = s->next().value();
  CHECK(labelled.prompt == turns{{"user", "a"}});
  CHECK(labelled.answer == "1");
  CHECK(labelled.data_source == "d");
  CHECK(s->next().value().demonstrations == std::vector<turns>{{{"assistant", "2"}}});
  const row pair = s->next().value();
  CHECK(pair.prompt == turns{{"user", "c"}});
  CHECK(pair.demonstrations == std::vector<turns>{{{"assistant", "3"}}, {{"assistant", "4"}}});
}

TEST_CASE("in a file of which no row can be used the first in the file is named, whatever the order") {
  const jsonl file(R"({"question": "x", "answer": "1"})"
                   "\n"
                   + std::string("bad\nworse\n"));
  for (std::uint64_t seed = 1; seed < 6; ++seed) {
    auto s = open_file(file.path(), {true, seed, 1, ""}, {});
    CHECK_THROWS_WITH_AS(s->next(), doctest::Contains((file.at(1) + ": no prompt").c_str()), millrace::input_error);
  }
}

TEST_CASE("every example of docs/rows.md is a row that can be used") {
  std::ifstream page("docs/rows.md");
  REQUIRE(page);
  std::string rows;
  bool inside = false;
  for (std::string line; std::getline(page, line);)
    if (line.starts_with("```"))
      inside = line == "```jsonl";
    else if (inside)
      rows += line + "\n";
  const jsonl file(rows);
  std::vector<std::string> said;
  auto s = open_file(file.path(), in_order(), [&](const std::string& line) { said.push_back(line); });
  int used = 0;
  while (s->next())
    ++used;
  CHECK(used >= 7);
  CHECK(said == std::vector<std::string>{});
}

TEST_CASE("brackets inside strings do not nest") {
  const jsonl file(R"({"prompt": ")" + std::string(1000, '[') + R"(\"{", "answer": "1"})");
  CHECK(open_file(file.path(), in_order(), {})->next()->answer == "1");
}

TEST_CASE("blank lines, carriage returns, a byte order mark and a missing last newline are no rows and no trouble") {
  const jsonl file("\xef\xbb\xbf{\"prompt\": \"a\", \"answer\": 1}\r\n\n  \t\r\n{\"prompt\": \"b\", \"answer\": 2}");
  int skips = 0;
  auto s = open_file(file.path(), in_order(), [&](const std::string&) { ++skips; });
  CHECK(s->next()->answer == "1");
  const row second = s->next().value();
  CHECK(second.answer == "2");
  CHECK(second.where == file.at(4));
  CHECK_FALSE(s->next());
  CHECK(skips == 0);
}

TEST_CASE("each epoch gives every row once, in another order") {
  const jsonl file(numbered(40));
  auto s = open_file(file.path(), {true, 5, 3, ""}, {});
  std::set<std::vector<std::string>> orders;
  for (int epoch = 0; epoch < 3; ++epoch) {
    const auto order = answers(*s, 40);
    CHECK(std::set<std::string>(order.begin(), order.end()).size() == 40);
    orders.insert(order);
  }
  CHECK_FALSE(s->next());
  CHECK(orders.size() == 3);
}

TEST_CASE("a saved position goes on with the same rows and indices, in any epoch") {
  const jsonl file(numbered(10) + "bad\n");
  auto s = open_file(file.path(), {true, 5, 0, ""}, {});
  std::vector<position> places;
  std::vector<row> rows;
  for (int i = 0; i < 35; ++i) {
    places.push_back(s->save());
    rows.push_back(s->next().value());
  }
  std::set<std::uint64_t> indices;
  for (const row& r : rows)
    indices.insert(r.index);
  CHECK(indices.size() == rows.size());
  for (const std::size_t from : {0u, 1u, 9u, 10u, 11u, 34u}) {
    CAPTURE(from);
    auto again = open_file(file.path(), {true, 5, 0, ""}, {});
    again->restore(places[from]);
    for (std::size_t i = from; i < rows.size(); ++i)
      CHECK(again->next().value() == rows[i]);
  }
}

TEST_CASE("a position of other data is refused") {
  const jsonl file(numbered(10));
  auto s = open_file(file.path(), in_order(), {});
  CHECK_THROWS_WITH_AS(s->restore({0, 3, 11}),
                       (file.path().string() + ": found 10 rows, want the 11 of the saved position").c_str(),
                       millrace::input_error);
  CHECK_THROWS_AS(make_arithmetic({})->restore({0, 3, 11}), millrace::input_error);
}

TEST_CASE("a bad row counts once however many epochs see it") {
  const jsonl file("bad\n" + numbered(2));
  int said = 0;
  auto s = open_file(file.path(), in_order(4), [&](const std::string&) { ++said; });
  CHECK(answers(*s, 20).size() == 8);
  CHECK(said == 1);
  CHECK(s->skipped() == 1);
}

TEST_CASE("a file without a usable row is an error, not an endless loop") {
  const jsonl bad("bad\nworse\n"), empty(""), blank("\n \n");
  auto s = open_file(bad.path(), in_order(0), {});
  CHECK_THROWS_WITH_AS(
      s->next(),
      doctest::Contains(
          (bad.path().string() + ": none of its 2 rows can be used, the first: " + bad.at(1) + ": not JSON: ").c_str()),
      millrace::input_error);
  for (const jsonl* file : {&empty, &blank})
    CHECK_THROWS_WITH_AS(open_file(file->path(), {}, {}),
                         (file->path().string() + ": found no row, want JSONL: one row a line").c_str(),
                         millrace::input_error);
  CHECK_THROWS_AS(open_file(bad.path().parent_path() / "none.jsonl", {}, {}), millrace::input_error);
}

TEST_CASE("a system message is put before prompts that have none") {
  const jsonl file(R"({"prompt": "a", "answer": 1}
{"prompt": [{"role": "system", "content": "own"}, {"role": "user", "content": "b"}], "answer": 2})");
  auto s = open_file(file.path(), {false, 1, 1, "ours"}, {});
  CHECK(s->next()->prompt == std::vector<chat_turn>{{"system", "ours"}, {"user", "a"}});
  CHECK(s->next()->prompt == std::vector<chat_turn>{{"system", "own"}, {"user", "b"}});
}

TEST_CASE("demonstrations: chat rows, completions, preferences, verl's solutions") {
  const jsonl file(
      R"({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", )"
      R"("content": "b"}, {"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}, {"role": "user", )"
      R"("content": "e"}]})"
      "\n"
      R"({"prompt": "a", "completion": "b"})"
      "\n"
      R"({"prompt": "a", "completion": [{"role": "assistant", "content": "b"}]})"
      "\n"
      R"({"prompt": "a", "chosen": "b", "rejected": "c", "margin": 2})"
      "\n"
      R"({"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "rejected": )"
      R"([{"role": "user", "content": "a"}, {"role": "assistant", "content": "c"}]})"
      "\n"
      R"({"prompt": "a", "reward_model": {"ground_truth": "7"}, "extra_info": {"answer": "3 + 4 = 7"}})"
      "\n");
  auto s = open_file(file.path(), in_order(), {});
  using turns = std::vector<chat_turn>;
  const row chat = s->next().value();
  CHECK(chat.prompt == turns{{"system", "s"}, {"user", "a"}});
  CHECK(chat.demonstrations == std::vector<turns>{{{"assistant", "b"}, {"user", "c"}, {"assistant", "d"}}});
  CHECK(chat.answer.empty());
  for (int i = 0; i < 2; ++i) {
    const row completion = s->next().value();
    CHECK(completion.prompt == turns{{"user", "a"}});
    CHECK(completion.demonstrations == std::vector<turns>{{{"assistant", "b"}}});
  }
  for (const double margin : {2.0, 0.0}) {
    const row preference = s->next().value();
    CHECK(preference.prompt == turns{{"user", "a"}});
    CHECK(preference.demonstrations == std::vector<turns>{{{"assistant", "b"}}, {{"assistant", "c"}}});
    CHECK(preference.margin == margin);
  }
  const row solved = s->next().value();
  CHECK(solved.answer == "7");
  CHECK(solved.demonstrations == std::vector<turns>{{{"assistant", "3 + 4 = 7"}}});
  CHECK_FALSE(s->next());
}

TEST_CASE("a demonstration that cannot be used is skipped and named") {
  CHECK(why(R"({"messages": [{"role": "user", "content": "a"}]})")
        == "messages: found no turn of the assistant, want at least one");
  CHECK(why(R"({"messages": [{"role": "assistant", "content": "a"}]})")
        == "messages: found the assistant's turn first, want a prompt before it");
  CHECK(why(R"({"messages": 3})") == "messages: found number, want text or a list of messages {role, content}");
  CHECK(why(R"({"prompt": "a", "completion": ""})") == "completion: found no text, want some");
  CHECK(why(R"({"prompt": "a", "completion": [{"role": "user", "content": "b"}]})")
        == "completion: found no turn of the assistant where one is wanted, want messages that go on with the "
           "assistant's");
  CHECK(why(R"({"prompt": "a", "chosen": "b"})") == "no \"rejected\", want both chosen and rejected");
  CHECK(
      why(R"({"chosen": "b", "rejected": "c"})")
      == "no prompt, and chosen and rejected do not begin with the same turns, want \"prompt\" or whole conversations");
  CHECK(why(R"({"prompt": "a", "chosen": "b", "rejected": "c", "margin": -1})")
        == "margin: found -1, want a number of at least 0");
}

} // namespace file_source_test
