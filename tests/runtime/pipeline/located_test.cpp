#include "runtime/pipeline/located.hpp"
#include "runtime/pipeline/stages.hpp"
#include "tests/runtime/pipeline/fixture.hpp"

#include <doctest/doctest.h>

namespace located_test {

using namespace millrace;
using namespace millrace::test;

namespace {

/// What is said where the key's file is opened and refused.
std::string said_of(const pipeline::pipeline& p, const std::string& path) {
  try {
    pipeline::located(p, path, []() -> int { throw input_error("found nothing, want a file"); });
  } catch (const pipeline::pipeline_errors& errors) {
    return errors.what();
  }
  return "nothing";
}

} // namespace

TEST_CASE("what is found when a key's file is opened is said at the key's place, or its table's") {
  const auto p = parsed(valid);
  CHECK(said_of(p, "roles.rollout.slots") == "p.toml:16:9: roles.rollout.slots: found nothing, want a file");
  CHECK(said_of(p, "roles.rollout.seed") == "p.toml:12:1: roles.rollout.seed: found nothing, want a file");
  CHECK(said_of(p, "nothing.of.that") == "p.toml:1:1: nothing.of.that: found nothing, want a file");
  CHECK(pipeline::located(p, "run", [] { return 3; }) == 3);
}

TEST_CASE("a mistake that has a place keeps it, and a pipeline that was not read from a file says its path") {
  const auto p = parsed(valid);
  const pipeline::mistake known{{.source = "other.toml", .line = 7, .column = 1}, "found it there"};
  CHECK_THROWS_WITH_AS(pipeline::located(p, "run", [&] { throw pipeline::pipeline_errors({known}); }),
                       "other.toml:7:1: found it there", pipeline::pipeline_errors);
  pipeline::pipeline made;
  made.file = "made.toml";
  CHECK(said_of(made, "run.name") == "made.toml: run.name: found nothing, want a file");
}

TEST_CASE("a key that stands on the command line is said there") {
  const auto p = parsed(valid, {"roles.rollout.slots=7"});
  CHECK(said_of(p, "roles.rollout.slots").starts_with("--set roles.rollout.slots=7: roles.rollout.slots: found"));
}

} // namespace located_test
