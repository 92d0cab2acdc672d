#include "runtime/stated/number_words.hpp"

#include <doctest/doctest.h>

#include <string>

namespace number_words_test {

using namespace millrace::stated;

TEST_CASE("only_measures: units and words behind a number leave it what it is") {
  for (const char* phrase : {"",        " cm",         "cm",        " cm^2",        " cm^{2}",        " cm2",
                             " m/s^2",  " m / s^{-2}", " kg*m^2",   " km per hour", " apples",        "\u00B0",
                             "\u00B0C", "\u00B0 C",    ", so done", " (apples)",    " square meters", " L",
                             "m",       "th",          " mph",      " \u5143",      " US-dollars"})
    CHECK_MESSAGE(only_measures(phrase), std::string(phrase));
}

TEST_CASE("only_measures: what makes another number of it does not") {
  for (const char* phrase :
       {"x",       " x",           "n",        " or more",  " and 3",      "!",      " + 1",
        "...",     " pi",          " squared", " thirds",   " and a half", " dozen", "\u03C0",
        "\u221A2", " if it rains", " = x",     " < 6",      "\\pi",        " cm^x",  " below zero",
        "2",       " cm 3",        "ab",       " \u00B1 1", " - x",        " i",     " in base two",
        "k"})
    CHECK_MESSAGE(!only_measures(phrase), std::string(phrase));
}

TEST_CASE("only_introduces: words before a number leave it what it is, unless they bound, deny or negate it") {
  for (const char* phrase : {"", "The answer is ", "Answer: ", "Total:", "about ", "It is equal to "})
    CHECK_MESSAGE(only_introduces(phrase), std::string(phrase));
  for (const char* phrase : {"at least ", "less than ", "not ", "x ", "minus ", "negative ", "more than ", "sqrt ",
                             "3 ", "up to ", "between ", "x - "})
    CHECK_MESSAGE(!only_introduces(phrase), std::string(phrase));
}

TEST_CASE("zeros_of: the factors that have a name") {
  CHECK(zeros_of("thousand") == 3);
  CHECK(zeros_of("Millions") == 6);
  CHECK(zeros_of("apples") == 0);
}

} // namespace number_words_test
