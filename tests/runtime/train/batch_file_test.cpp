#include "runtime/train/batch_file.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cmath>

namespace batch_file_test {

using namespace millrace;
using namespace millrace::algorithms;

namespace {

nlohmann::json eval(const char* name, const std::string& text, const loss_options& loss = {},
                    const std::map<std::string, double>& set = {}) {
  const auto file = train::parse_batch(text, "b.json");
  const algorithm& row = *find(name);
  return nlohmann::json::parse(
      train::evaluation_json(file, evaluate(row, hyperparameter_values(row.options, set), loss, file.batch)));
}

void check_refused(const std::string& text, const std::string& words) {
  CAPTURE(text);
  CHECK_THROWS_WITH_AS(train::parse_batch(text, "b.json"), words.c_str(), input_error);
}

} // namespace

TEST_CASE("a batch by hand: rewards 1 and 0, rloo advantages 1 and -1, three tokens") {
  const auto out = eval("rloo", R"({"groups":[{"rewards":[1,0],"answers":[{"logprob":[-1,-2]},{"logprob":[-3]}]}]})");
  CHECK(out["advantages"] == nlohmann::json::parse("[[[1,1],[-1]]]"));
  CHECK(out["loss"].get<double>() == doctest::Approx(-1.0 / 3));
  CHECK(out["gradient"][0][0][0].get<double>() == doctest::Approx(-1.0 / 3));
  CHECK(out["gradient"][0][1][0].get<double>() == doctest::Approx(1.0 / 3));
}

TEST_CASE("masked tokens are gone before anything is computed, and have gradient 0") {
  const auto with =
      eval("grpo", R"({"groups":[{"rewards":[1,0],)"
                   R"("answers":[{"logprob":[-1,-9,-2],"mask":[1,0,1]},{"logprob":[-3],"mask":[true]}]}]})");
  const auto without =
      eval("grpo", R"({"groups":[{"rewards":[1,0],"answers":[{"logprob":[-1,-2]},{"logprob":[-3]}]}]})");
  CHECK(with["loss"] == without["loss"]);
  CHECK(with["gradient"][0][0][0] == without["gradient"][0][0][0]);
  CHECK(with["gradient"][0][0][1] == 0.0);
  CHECK(with["gradient"][0][0][2] == without["gradient"][0][0][1]);
}

TEST_CASE("a group of one, equal rewards, empty answers and all tokens masked have gradient 0, never NaN") {
  for (const algorithm* row : all()) {
    if (row->on == head::score)
      continue;
    CAPTURE(std::string(row->name));
    const std::string value = R"(,"value":[0.5],"ref_logprob":[-1])", none = R"(,"value":[],"ref_logprob":[])";
    for (const std::string& text :
         {R"({"groups":[{"rewards":[3],"baseline":3,"answers":[{"logprob":[-1])" + value + "}]}]}",
          R"({"groups":[{"rewards":[2,2],"baseline":2,"answers":[{"logprob":[-1])" + value + R"(},{"logprob":[])" + none
              + "}]}]}",
          R"({"groups":[{"rewards":[1,0],"baseline":1,"answers":[{"logprob":[])" + none + R"(},{"logprob":[])" + none
              + "}]}]}",
          R"({"groups":[{"rewards":[1,0],"baseline":1,"answers":[{"logprob":[-1],"mask":[0])" + value
              + R"(},{"logprob":[-2],"mask":[0])" + value + "}]}]}"}) {
      CAPTURE(text);
      const auto out = eval(row->name.data(), text);
      CHECK(std::isfinite(out["loss"].get<double>()));
      for (const auto& group : out["gradient"])
        for (const auto& answer : group)
          for (const auto& gradient : answer)
            CHECK(gradient.is_number());
    }
  }
}

TEST_CASE("the log-linear anchor and corrections work on a file") {
  const correction& icepop = *find_correction("icepop");
  loss_options loss{.against = proximal::log_linear, .corrections = {{&icepop, hyperparameter_values(icepop.options)}}};
  // v = 1, n = 3: half way from behaviour -2 to current -1, weight e^0.5; v = 2: behaviour itself, weight 1.
  const auto out = eval("rloo",
                        R"({"version":3,"groups":[{"rewards":[1,0],"answers":[)"
                        R"({"logprob":[-1],"behaviour_logprob":[-2],"version":[1]},)"
                        R"({"logprob":[-1],"behaviour_logprob":[-2],"version":[2]}]}]})",
                        loss);
  CHECK(out["weights"][0][0][0].get<double>() == doctest::Approx(std::exp(0.5)));
  CHECK(out["weights"][0][1][0].get<double>() == 1);
}

TEST_CASE("a critic's columns give returns and the gradient of its loss") {
  const auto out = eval(
      "ppo",
      R"({"groups":[{"rewards":[1,0],"answers":[{"logprob":[-1],"value":[0.5]},{"logprob":[-1],"value":[0.25]}]}]})");
  CHECK(out["returns"] == nlohmann::json::parse("[[[1.0],[0.0]]]"));
  CHECK(out["value_gradient"][0][0][0].get<double>() == doctest::Approx((0.5 - 1) / 2));
  CHECK(out["value_gradient"][0][1][0].get<double>() == doctest::Approx(0.25 / 2));
}

TEST_CASE("what is wrong with a batch is said in one line with column and row") {
  check_refused("{", "b.json:1:1: not JSON: syntax error while parsing object key - unexpected end of input; expected "
                     "string literal");
  check_refused("[]", "b.json: found [], want an object");
  check_refused("{}", "b.json: no \"groups\"");
  check_refused(R"({"groups":[{"rewards":[1],"answers":[]}]})",
                "b.json: groups[0].rewards: 1 numbers, want 0, one for each answer");
  check_refused(R"({"groups":[{"rewards":[1],"answers":[{}]}]})", "b.json: groups[0].answers[0]: no \"logprob\"");
  check_refused(R"({"groups":[{"rewards":[1],"answers":[{"logprob":[-1],"logprop":[1]}]}]})",
                "b.json: groups[0].answers[0]: unknown column \"logprop\"");
  check_refused(R"({"groups":[{"rewards":[1],"answers":[{"logprob":[-1],"value":[1,2]}]}]})",
                "b.json: groups[0].answers[0].value: 2 numbers, want 1, one for each logprob");
  check_refused(R"({"groups":[{"rewards":[Infinity],"answers":[{"logprob":[-1]}]}]})",
                "b.json: groups[0].rewards[0]: found \"Infinity\", want a finite number");
  check_refused(R"({"groups":[{"rewards":[1],"answers":[{"logprob":[NaN]}]}]})",
                "b.json: groups[0].answers[0].logprob[0]: found \"NaN\", want a finite number");
  check_refused(R"({"groups":[{"rewards":[1],"answers":[{"logprob":[null]}]}]})",
                "b.json: groups[0].answers[0].logprob[0]: found null, want a finite number");
  check_refused(R"({"groups":[{"rewards":[1,1],"answers":[{"logprob":[-1],"value":[1]},{"logprob":[-1]}]}]})",
                "b.json: groups[0].answers[1].value: missing, and earlier rows have it");
  check_refused(R"({"groups":[{"rewards":[1],"answers":[{"logprob":[-1],"mask":[2]}]}]})",
                "b.json: groups[0].answers[0].mask[0]: found 2, want 0 or 1");
  check_refused(R"({"groups":[{"rewards":[1],"answers":[{"logprob":[-1],"version":[-1]}]}],"version":-1})",
                "b.json: version: found -1, want an integer from 0");
}

} // namespace batch_file_test
