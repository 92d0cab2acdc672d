#include "runtime/pipeline/cluster.hpp"
#include "runtime/pipeline/errors.hpp"
#include "runtime/schedule/presets.hpp"
#include "runtime/schedule/virtual_time.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

namespace cluster_test {

using namespace millrace;
using namespace millrace::pipeline;

namespace {

constexpr const char* small = R"([rollout]
gpus = 4
gpus_per_engine = 2
decode = [ { occupied = 1, tokens_per_s = 100 }, { occupied = 8, tokens_per_s = 50 } ]
resume_tokens_per_s = 1000
[training]
gpus = 2
tokens_per_s = 500
step_s = 1
[publication]
transfer_s = 3
[failures]
per_hour = 4
[lengths]
mean = 200
max = 1000
)";

std::string with(std::string from, const std::string& old, const std::string& other) {
  return from.replace(from.find(old), old.size(), other);
}

std::string mistakes_of(const std::string& text) {
  const tests::temporary_folder here;
  tests::write_file(here / "c.toml", text);
  try {
    read_cluster((here / "c.toml").string());
  } catch (const input_error& wrong) {
    return std::string(wrong.what()).substr((here / "c.toml").string().size());
  }
  return "";
}

} // namespace

TEST_CASE("a cluster's file becomes costs") {
  const tests::temporary_folder here;
  tests::write_file(here / "c.toml", small);
  const auto cluster = read_cluster((here / "c.toml").string());
  schedule::workload shape;
  shape.slots = 8;
  shape.max_tokens = 4000;
  const auto apart = on_cluster(shape, cluster, schedule::place_mode::disjoint);
  CHECK(apart.workers == 2);
  CHECK(apart.slots == 8);
  CHECK(apart.decode.at(1).step_s == doctest::Approx(0.02));
  CHECK(apart.train_token_s == doctest::Approx(1.0 / 1000));
  CHECK(apart.train_s == 1);
  CHECK(apart.layout_s == 3);
  CHECK(apart.resume_token_s == doctest::Approx(0.001));
  CHECK(apart.worker_life_s == doctest::Approx(1800)); // two engines, four deaths an hour
  CHECK(apart.max_tokens == 1000);
  // In turn every GPU does both.
  const auto together = on_cluster(shape, cluster, schedule::place_mode::timeshare);
  CHECK(together.workers == 3);
  CHECK(together.train_token_s == doctest::Approx(1.0 / 3000));
}

TEST_CASE("mistakes in a cluster's file are told with their places") {
  CHECK(mistakes_of(small) == "");
  CHECK(mistakes_of(with(small, "gpus = 4", "gpu = 4"))
            .find(":2:1: unknown key \"gpu\" in [rollout], did you mean \"gpus\"?")
        != std::string::npos);
  CHECK(mistakes_of(with(small, "gpus = 4", "gpus = 3"))
            .starts_with(":2:8: rollout.gpus: found 3, want a multiple of gpus_per_engine = 2"));
  CHECK(mistakes_of(with(small, "occupied = 8", "occupied = 1"))
            .find(":4:63: rollout.decode.1.occupied: found 1, want more than the 1 before it")
        != std::string::npos);
  CHECK(mistakes_of(with(small, "tokens_per_s = 50 ", "tokens_per_s = 500 ")).find("more of them do not go faster")
        != std::string::npos);
  CHECK(mistakes_of(with(small, "mean = 200", "mean = 0")).find(":15:8: lengths.mean: found 0, want a number above 0")
        != std::string::npos);
  CHECK(mistakes_of("[rollout]\n").find("rollout: no key 'gpus'") != std::string::npos);
  CHECK_THROWS_WITH_AS(read_cluster("h100"), doctest::Contains("want one or h200-8, h100-64, h100-1024"), input_error);
}

TEST_CASE("every built-in cluster is a whole file, and a run of it can be predicted") {
  for (const auto& name : cluster_names()) {
    CAPTURE(name);
    schedule::workload shape;
    shape.slots = 64;
    shape.answers_per_group = 8;
    shape.groups_per_worker = 9;
    shape.max_tokens = 32000;
    auto settings = schedule::preset("one_step_off");
    settings.groups_per_step = 64;
    settings.steps = 5;
    const auto made =
        schedule::simulate(settings, on_cluster(shape, read_cluster(name), schedule::place_mode::disjoint));
    CHECK(made.steps == 5);
    CHECK(made.stale.max() == 1);
  }
}

} // namespace cluster_test
