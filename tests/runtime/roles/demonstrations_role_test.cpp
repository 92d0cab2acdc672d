#include "runtime/roles/demonstrations_role.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/roles/ask.hpp"
#include "tests/runtime/roles/fixture.hpp"

#include <doctest/doctest.h>

#include <numeric>

namespace demonstrations_role_test {

using namespace millrace;
using namespace millrace::roles;

namespace {

const model::checkpoint& words() {
  static const auto loaded = model::load_checkpoint(tests::tiny_model(), {.weights = false});
  return loaded;
}

columns::prompt_content row_of(std::vector<chat_turn> prompt, std::vector<std::vector<chat_turn>> answers) {
  return {
      .prompt = std::move(prompt), .answer = {}, .data_source = {}, .demonstrations = std::move(answers), .margin = 0};
}

std::string rendered(const std::vector<chat_turn>& turns, text::opening behind) {
  return model::chat_of(words()).render(turns, behind);
}

std::string decoded(const std::vector<std::int32_t>& tokens) {
  return words().tok->decode(tokens);
}

/// The tokens that are learned, one turn a string.
std::vector<std::string> learned(const demonstrated_answer& answer) {
  std::vector<std::string> turns;
  std::vector<std::int32_t> open;
  for (std::size_t i = 0; i <= answer.tokens.size(); ++i) {
    if (i < answer.tokens.size() && answer.mask[i]) {
      open.push_back(answer.tokens[i]);
    } else if (!open.empty()) {
      turns.push_back(decoded(open));
      open.clear();
    }
  }
  return turns;
}

const std::vector<chat_turn> question{{"user", "one two"}};

} // namespace

TEST_CASE("a completion is written as the model would have met it: prompt, answer, the token that ends the turn") {
  const auto group = write_demonstrations(words(), {}, 100, row_of(question, {{{"assistant", "three four"}}}));
  CHECK(decoded(group.prompt) == rendered(question, text::opening::assistant));
  REQUIRE(group.answers.size() == 1);
  const auto& answer = group.answers[0];
  CHECK(answer.tokens.back() == words().config.eos_ids.at(0));
  CHECK(answer.mask == std::vector<std::uint8_t>(answer.tokens.size(), 1));
  CHECK(answer.text == "three four");
  // What the template writes behind the turn is nobody's to learn.
  const auto whole = rendered({{"user", "one two"}, {"assistant", "three four"}}, text::opening::none);
  CHECK(whole.starts_with(decoded(group.prompt) + decoded(answer.tokens)));
}

TEST_CASE("of a chat every assistant's turn is learned and what lies between is not; or the last one alone") {
  const std::vector<chat_turn> rest{{"assistant", "a b"}, {"user", "c"}, {"assistant", "d e f"}};
  pipeline::demonstrations_table table;
  const auto every = write_demonstrations(words(), table, 100, row_of(question, {rest}));
  const auto end = decoded({words().config.eos_ids.at(0)});
  CHECK(learned(every.answers[0]) == std::vector<std::string>{"a b" + end, "d e f" + end});
  auto whole = question;
  whole.insert(whole.end(), rest.begin(), rest.end());
  CHECK(rendered(whole, text::opening::none).starts_with(decoded(every.prompt) + decoded(every.answers[0].tokens)));

  table.train_on = "last";
  const auto last = write_demonstrations(words(), table, 100, row_of(question, {rest}));
  CHECK(learned(last.answers[0]) == std::vector<std::string>{"d e f" + end});
  CHECK(last.answers[0].mask == std::vector<std::uint8_t>(last.answers[0].tokens.size(), 1));
  CHECK(decoded(last.prompt) + decoded(last.answers[0].tokens)
        == decoded(every.prompt) + decoded(every.answers[0].tokens));
}

TEST_CASE("a preference is a group of two, the better with reward 1") {
  pipeline::demonstrations_table table;
  table.form = "preference";
  const auto group =
      write_demonstrations(words(), table, 100, row_of(question, {{{"assistant", "yes"}}, {{"assistant", "no no"}}}));
  REQUIRE(group.answers.size() == 2);
  const columns::column_set columns(roles::columns_of(group, 3));
  const auto reward = columns.view(column::reward);
  CHECK(std::vector<float>(reward.begin(), reward.end()) == std::vector<float>{1, 0});
  const auto lengths = columns.view(column::lengths);
  CHECK(static_cast<std::size_t>(std::accumulate(lengths.begin(), lengths.end(), 0))
        == columns.view(column::tokens).size());
  for (const auto version : columns.view(column::version))
    CHECK(version == 3);
  const auto texts = columns::by_answer(columns.view(column::text), columns.view(column::text_lengths));
  CHECK(std::string(texts[1].begin(), texts[1].end()) == "no no");
}

TEST_CASE("a row that does not fit says why") {
  const auto why = [](pipeline::demonstrations_table table, const columns::prompt_content& row,
                      std::int64_t longest = 100) -> std::string {
    try {
      write_demonstrations(words(), table, longest, row);
    } catch (const input_error& error) {
      return error.what();
    }
    return "";
  };
  const auto good = row_of(question, {{{"assistant", "three"}}});
  CHECK(why({}, good).empty());
  CHECK(why({}, row_of(question, {})) == "found a row without a demonstration, want messages, a completion or chosen");
  pipeline::demonstrations_table pairs;
  pairs.form = "preference";
  CHECK(why(pairs, good) == "found a row without a preference, want chosen and rejected");
  CHECK(why({}, good, 2).find("want at most max_prompt_tokens = 2") != std::string::npos);
  pipeline::demonstrations_table brief;
  brief.max_answer_tokens = 1;
  CHECK(why(brief, good).find("want at most max_answer_tokens = 1") != std::string::npos);
  std::string words_without_end;
  for (int i = 0; i < 600; ++i)
    words_without_end += " one";
  CHECK(why({}, row_of(question, {{{"assistant", words_without_end}}})).find("context of 512") != std::string::npos);
}

TEST_CASE(
    "the role answers with the row's own tokens, stamped with the version told last, and refuses what it cannot use") {
  const auto p = std::make_shared<const pipeline::pipeline>(pipeline::parse_pipeline(
      "[run]\nname = \"tiny\"\nsteps = 1\n[models.tiny]\npath = \"" + tests::tiny_model().string() + "\"\n" + R"(
[roles.prompts]
kind = "source"
generator = { type = "arithmetic" }
[roles.rollout]
kind = "demonstrations"
from = ["prompts"]
model = "tiny"
[roles.learner]
kind = "policy"
from = ["rollout"]
model = "tiny"
algorithm = "sft"
[schedule]
groups_per_step = 2
)",
      "tiny.toml", std::filesystem::current_path()));
  const auto data = tests::data_plane_of(1);
  tests::watched<std::vector<group_generated>> generated;
  role_events on;
  on.generated = [&](group_generated what) { generated.change([&](auto& all) { all.push_back(what); }); };
  demonstrations_role role({.pipeline = p, .who = {"rollout", 0, 0}, .data = data, .checkpoint = {}, .events = on},
                           std::get<pipeline::demonstrations_table>(p->at("rollout").options));
  CHECK(tests::ask(role, &demonstrations_role::take, {.version = 4}).first.version == 4);
  CHECK(tests::ask(role, &demonstrations_role::take, {.version = 3}).first.version == 4);
  const auto ask = [&](const columns::prompt_content& row) {
    return tests::ask(role, &demonstrations_role::generate,
                      {.group = 9, .attempt = 2, .columns = data->publish(columns::columns_of(row))});
  };
  const auto [accepted, error] = ask(row_of(question, {{{"assistant", "three"}}}));
  CHECK(error.empty());
  CHECK(accepted.group == 9);
  CHECK(accepted.prompt_tokens > 0);
  REQUIRE(generated.get().size() == 1);
  const auto what = generated.get().front();
  CHECK(what.group == 9);
  CHECK(what.attempt == 2);
  CHECK(what.tokens.size() == 1);
  CHECK(what.tokens.at(4) == what.columns.layout.at(1).shape.at(0));
  CHECK(ask(row_of(question, {})).second.find("without a demonstration") != std::string::npos);
}

} // namespace demonstrations_role_test
