#include "algorithms/algorithm.hpp"

#include <doctest/doctest.h>

#include <set>
#include <stdexcept>
#include <string>

namespace hyperparameters_test {

using namespace millrace::algorithms;

namespace {

constexpr hyperparameter some[] = {{"clip_low", 0.2, 0, 1, ""}, {"eps", 1e-6, 1e-9, 1, ""}};

} // namespace

TEST_CASE("options take their defaults where nothing is set") {
  const hyperparameter_values values(some, {{"eps", 0.5}});
  CHECK(values.get("clip_low") == 0.2);
  CHECK(values.get("eps") == 0.5);
}

TEST_CASE("an unknown option, a value out of range and a value that is no number are refused") {
  CHECK_THROWS_WITH_AS(hyperparameter_values(some, {{"clip_lo", 1}}),
                       "option 'clip_lo': unknown, did you mean 'clip_low'?", std::invalid_argument);
  CHECK_THROWS_WITH_AS(hyperparameter_values(some, {{"temperature", 1}}), "option 'temperature': unknown",
                       std::invalid_argument);
  CHECK_THROWS_WITH_AS(hyperparameter_values(some, {{"clip_low", 1.5}}), "option 'clip_low': 1.5, want 0 to 1",
                       std::invalid_argument);
  CHECK_THROWS_AS(hyperparameter_values(some, {{"eps", std::nan("")}}), std::invalid_argument);
}

TEST_CASE("every row of the table can be found, says where it is from, and defaults lie within their ranges") {
  std::set<std::string_view> names;
  for (const algorithm* row : all()) {
    CAPTURE(std::string(row->name));
    CHECK(names.insert(row->name).second);
    CHECK(find(row->name) == row);
    CHECK(row->source.find("arXiv:") != std::string_view::npos);
    CHECK(!row->summary.empty());
    for (const hyperparameter& o : row->options)
      CHECK_MESSAGE(holds(o, o.fallback), std::string(o.name));
  }
  CHECK(names.size() >= 3);
  CHECK(find("grpoo") == nullptr);
}

TEST_CASE("a switch takes no number between its two, and a bound is off or beyond its low end") {
  constexpr hyperparameter options[] = {
      {.name = "form", .fallback = 0, .low = 0, .high = 2, .meaning = "which", .takes = range::whole},
      {.name = "bound", .fallback = 0, .low = 1, .high = 9, .meaning = "limit", .takes = range::zero_or_above}};
  CHECK(hyperparameter_values(options, {{"form", 2}, {"bound", 1.5}}).get("bound") == 1.5);
  CHECK(hyperparameter_values(options, {{"bound", 0}}).get("bound") == 0);
  CHECK_THROWS_WITH_AS(hyperparameter_values(options, {{"form", 1.5}}), "option 'form': 1.5, want whole, 0 to 2",
                       std::invalid_argument);
  for (const double x : {1.0, 0.5, -1.0, 9.5, std::nan("")})
    CHECK_THROWS_AS(hyperparameter_values(options, {{"bound", x}}), std::invalid_argument);
  CHECK_THROWS_WITH_AS(hyperparameter_values(options, {{"bound", 1}}), "option 'bound': 1, want 0, or above 1 up to 9",
                       std::invalid_argument);
}

TEST_CASE("a choice among words is the word's index") {
  static constexpr std::string_view words[] = {"token", "sequence"};
  constexpr hyperparameter choice[] = {{"level", 1, 0, 1, "of what", words}, {"cap", 2, 0, 9, "largest"}};
  const hyperparameter_values values(choice);
  CHECK(values.word("level") == "sequence");
  CHECK(hyperparameter_values(choice, {{"level", number_of(choice[0], "token")}}).word("level") == "token");
  CHECK_THROWS_WITH_AS(number_of(choice[0], "answer"), "option 'level': 'answer', want one of token, sequence",
                       std::invalid_argument);
  CHECK_THROWS_AS(hyperparameter_values(choice, {{"level", 0.5}}), std::invalid_argument);
  CHECK_THROWS_AS(values.word("cap"), std::out_of_range);
}

} // namespace hyperparameters_test
