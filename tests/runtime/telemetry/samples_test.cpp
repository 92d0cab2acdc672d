#include "runtime/telemetry/samples.hpp"
#include "runtime/telemetry/trajectories.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

namespace samples_test {

using namespace millrace::telemetry;
using millrace::tests::temporary_folder;

namespace {

trajectory group(std::int64_t step, std::uint64_t id, const std::vector<std::string>& texts) {
  trajectory row{.group = id, .step = step, .prompt = "user: q" + std::to_string(id), .answers = {}, .part = 0};
  for (const auto& text : texts)
    row.answers.push_back({.text = text, .tokens = 3, .reward = 1.25, .rewards = {}, .finish = "stop"});
  return row;
}

} // namespace

TEST_CASE("a follower gives each row once, as frames come, and the samples are so many answers a step") {
  const temporary_folder folder;
  const auto path = folder / "trajectories-1.jsonl.zst";
  trajectory_follower follower(path);
  CHECK(follower.more() == "");
  trajectory_file file(path, 1);
  file.append(group(1, 7, {"a", "b"}));
  file.append(group(1, 8, {"c"}));
  file.flush();
  const auto first = follower.more();
  CHECK(samples_in_words(first, 1) == "step 1, group 7: user: q7\n  reward 1.25, 3 tokens, stop: a\n");
  CHECK(samples_in_words(first, 2)
        == "step 1, group 7: user: q7\n  reward 1.25, 3 tokens, stop: a\n"
           "step 1, group 8: user: q8\n  reward 1.25, 3 tokens, stop: c\n");
  CHECK(samples_in_words(first, 9)
        == "step 1, group 7: user: q7\n  reward 1.25, 3 tokens, stop: a\n  reward 1.25, 3 tokens, stop: b\n"
           "step 1, group 8: user: q8\n  reward 1.25, 3 tokens, stop: c\n");
  CHECK(follower.more() == "");
  file.append(group(2, 9, {"d"}));
  file.append(group(3, 10, {"e"}));
  file.flush();
  CHECK(samples_in_words(follower.more(), 1)
        == "step 2, group 9: user: q9\n  reward 1.25, 3 tokens, stop: d\n"
           "step 3, group 10: user: q10\n  reward 1.25, 3 tokens, stop: e\n");
}

TEST_CASE("a sample is one line that cannot drive a terminal, cut between characters") {
  const temporary_folder folder;
  const auto path = folder / "trajectories-1.jsonl.zst";
  trajectory_file file(path, 1);
  std::string long_text;
  for (int i = 0; i < 300; ++i)
    long_text += "é";
  file.append(group(1, 1, {"a\n\x1b[2Jb", long_text + "!", "\u009b2Jc"}));
  file.flush();
  const auto words = samples_in_words(trajectory_follower(path).more(), 3);
  CHECK(words.find("stop: \\xc2\\x9b2Jc\n") != std::string::npos);
  CHECK(words.find("stop: a\\n\\x1b[2Jb\n") != std::string::npos);
  CHECK(words.find("stop: " + long_text.substr(0, 400) + " ...\n") != std::string::npos);
}

} // namespace samples_test
