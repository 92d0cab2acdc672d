#include "tests/runtime/pipeline/fixture.hpp"

#include <doctest/doctest.h>

#include <random>

namespace mutation_test {

using namespace millrace::test;

namespace {

/// One to eight edits, mostly one: a byte replaced, removed, doubled; a piece copied elsewhere or cut out; a hostile
/// piece put in.
std::string mutated(std::mt19937_64& random, std::string text) {
  static const std::vector<std::string> pieces{"[",
                                               "]",
                                               "[[",
                                               "]]",
                                               "{",
                                               "}",
                                               "\"",
                                               "'",
                                               "\"\"\"",
                                               "'''",
                                               "=",
                                               ".",
                                               "#",
                                               "\n",
                                               "\r\n",
                                               "\\",
                                               "\\u0000",
                                               "\0",
                                               "\xff",
                                               "\xcf\xa9",
                                               "\xf0\x9f\x98\x80",
                                               "nan",
                                               "inf",
                                               "-0",
                                               "1e999",
                                               "0x",
                                               "1979-05-27T07:32:00Z",
                                               "9223372036854775807",
                                               "a.b.c.d",
                                               "true",
                                               "[]",
                                               "{}",
                                               "[run]",
                                               "roles",
                                               "kind = \"policy\""};
  const auto below = [&](std::size_t n) { return n == 0 ? 0 : static_cast<std::size_t>(random() % n); };
  for (std::size_t edits = 1 + below(2) * below(8); edits > 0; --edits) {
    const std::size_t at = below(text.size()), length = 1 + below(12);
    switch (below(6)) {
    case 0:
      if (!text.empty())
        text[at] = static_cast<char>(random());
      break;
    case 1:
      text.erase(at, length);
      break;
    case 2:
      text.insert(at, text.substr(at, length));
      break;
    case 3:
      text.insert(below(text.size()), text.substr(at, 8 * length));
      break;
    default:
      text.insert(at, pieces[below(pieces.size())]);
    }
  }
  return text;
}

} // namespace

TEST_CASE("a mutated file is a pipeline or a list of errors, each with its place in the file") {
  std::mt19937_64 random(1);
  int good = 0, bad = 0;
  for (int i = 0; i < 20000; ++i) {
    const std::string text = mutated(random, valid);
    CAPTURE(text);
    try {
      const auto p = parsed(text);
      ++good;
      REQUIRE(millrace::pipeline::parse_pipeline(resolved_toml(p), "r.toml", "/", {}, words()) == p);
    } catch (const millrace::pipeline::pipeline_errors& errors) {
      ++bad;
      for (const auto& mistake : errors.mistakes()) {
        REQUIRE(mistake.where.line >= 1);
        REQUIRE(mistake.where.column >= 1);
        REQUIRE_FALSE(mistake.text.empty());
        REQUIRE(mistake.text.find('\n') == std::string::npos);
      }
    }
  }
  CHECK(good > 100);
  CHECK(bad > 10000);
  MESSAGE(good << " of the mutated files are pipelines, " << bad << " are not");
}

TEST_CASE("a mutated --set never crashes") {
  std::mt19937_64 random(2);
  for (int i = 0; i < 5000; ++i) {
    const std::string text = mutated(random, "roles.rollout.slots=12");
    CAPTURE(text);
    REQUIRE_NOTHROW(errors_of(valid, {text}));
  }
}

} // namespace mutation_test
