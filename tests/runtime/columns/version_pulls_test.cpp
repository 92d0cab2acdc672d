#include "runtime/columns/adapter_base.hpp"
#include "runtime/columns/version_pulls.hpp"
#include "runtime/columns/weights_delta.hpp"
#include "runtime/model/checkpoint.hpp"
#include "runtime/telemetry/log.hpp"
#include "tests/runtime/transport/planes.hpp"
#include "tests/support/temporary_folder.hpp"

#include <ATen/ATen.h>
#include <doctest/doctest.h>

#include <future>

namespace version_pulls_test {

using namespace millrace;

namespace {

/// Version k: 1,000 numbers, of which some differ from the version before.
transport::bundle version(int k) {
  const at::Tensor numbers = at::arange(1000, at::kFloat);
  for (int i = 0; i < k; ++i)
    numbers[i * 3] = -i - 1;
  return transport::bundle_builder().add_all(columns::bundle_of({{"w", numbers}})).finish(); // in memory of its own
}

/// A publisher and one who pulls from it over TCP, as on another host.
struct two_hosts {
  std::shared_ptr<transport::data_plane> data =
      std::make_shared<transport::data_plane>(transport::testing::options_of(1));
  transport::data_plane far{transport::testing::options_of(2)};
  int aside = 0; ///< jobs on a thread that may block; looked at behind `pull` alone
  columns::version_pulls pulls;

  explicit two_hosts(columns::version_pulls::parts what = {.deltas = true})
      : pulls(far, std::move(what), [this](const auto& work) {
          ++aside;
          work();
        }) {
    far.add_peer(1, data->address());
  }

  weight_shares published(int k, std::optional<int> since = {}, std::optional<transport::bundle> delta = {}) const {
    weight_shares shares = data->publish(version(k));
    if (since) {
      shares.delta = data->publish(delta ? *delta : columns::delta_of(version(*since), version(k)).value());
      shares.since = static_cast<std::uint32_t>(*since);
    }
    return shares;
  }

  /// @returns "right" where all of version k came as its ticket says
  std::string pull(int k, const weight_shares& from) { return pull(pulls, k, from); }

  static std::string pull(columns::version_pulls& by, int k, const weight_shares& from) {
    std::promise<std::string> seen;
    by.pull(static_cast<std::uint32_t>(k), from, std::chrono::seconds(30),
            [&](const columns::pulled_weights& pulled, const std::string& error) {
              seen.set_value(!error.empty()                                                    ? error
                             : pulled.shares.at(0).checksums() == from.tickets.at(0).checksums ? "right"
                                                                                               : "wrong");
            });
    return seen.get_future().get();
  }
};

/// Version k of a policy that trains an adapter on the tiny model.
struct adapted {
  const std::filesystem::path path = "tests/golden/models/tiny-chat";
  model::weights base = model::load_checkpoint(path).parameters;

  model::adapter adapter(int k) const {
    auto a = model::new_adapter(base, 2, 4, "_proj$", 1);
    at::manual_seed(static_cast<std::uint64_t>(k));
    for (auto& half : a.parameters)
      half.tensor = at::randn_like(half.tensor).mul_(0.1);
    return a;
  }

  weight_shares published(transport::data_plane& by, int k) const {
    weight_shares shares = by.publish(columns::bundle_of(model::merged(base, adapter(k)), precision::bfloat16));
    shares.adapter = by.publish(columns::bundle_of(adapter(k)));
    return shares;
  }
};

} // namespace

TEST_CASE("version pulls: behind the version before the delta is enough; else all of it is pulled") {
  two_hosts at;
  CHECK(at.pull(1, at.published(1)) == "right");
  auto second = at.published(2, 1);
  at.data->release(second.tickets[0].id); // nobody needs it
  CHECK(at.pull(2, second) == "right");
  CHECK(at.aside == 1);
  CHECK(at.pull(5, at.published(5, 4)) == "right"); // it has 2
  CHECK(at.aside == 1);
  CHECK(at.pull(6, at.published(6, 5)) == "right");
  CHECK(at.aside == 2);
  auto gone = at.published(7, 6);
  at.data->release(gone.delta.id);
  CHECK(at.pull(7, gone) == "right");
  CHECK(at.aside == 2);
}

TEST_CASE("version pulls: a delta that leads elsewhere, or nowhere, costs a pull of all") {
  two_hosts at;
  CHECK(at.pull(1, at.published(1)) == "right");
  CHECK(at.pull(2, at.published(2, 1, columns::delta_of(version(1), version(3)))) == "right");
  CHECK(at.aside == 1);
  CHECK(at.pull(3, at.published(3, 2, version(3))) == "right"); // its columns are others
  CHECK(at.aside == 2);
  CHECK(at.pull(4, at.published(4, 3)) == "right");
  CHECK(at.aside == 3);
}

TEST_CASE("version pulls: several readers of one far host, which lend each other what they pull, pull deltas too") {
  transport::data_plane owner(transport::testing::options_of(1)); // over TCP: of another host
  transport::data_plane first(transport::testing::options_of(2, transport::wire::automatic)),
      second(transport::testing::options_of(3, transport::wire::automatic));
  for (auto* const one : {&first, &second})
    one->add_peer(1, owner.address());
  first.add_peer(3, second.address());
  second.add_peer(2, first.address());
  const auto large = [](int k) {
    const at::Tensor numbers = at::arange(1'000'000, at::kFloat);
    numbers[k] = -1;
    return columns::bundle_of({{"w", numbers}});
  };
  REQUIRE(large(1).bytes() > transport::smallest_shared);
  int patched = 0;
  columns::version_pulls pulls(first, {.deltas = true}, [&](const auto& work) {
    ++patched;
    work();
  });
  for (int k = 1; k < 4; ++k) {
    weight_shares shares = owner.publish(large(k));
    if (k > 1) {
      shares.delta = owner.publish(columns::delta_of(large(k - 1), large(k)).value());
      shares.since = static_cast<std::uint32_t>(k - 1);
    }
    CHECK(two_hosts::pull(pulls, k, shares) == "right");
  }
  CHECK(patched == 2);
  CHECK(first.stats().bytes_pulled < 2 * large(1).bytes());
}

TEST_CASE("version pulls: of adapters the first version needs no more than any other, and none travels whole") {
  const adapted policy;
  two_hosts at({.base = policy.path});
  std::uint64_t whole = 0, adapter = 0;
  for (const int k : {3, 4, 7}) { // it came late, and has missed some
    auto shares = policy.published(*at.data, k);
    whole = shares.tickets[0].bytes;
    adapter = shares.adapter.bytes;
    at.data->release(shares.tickets[0].id); // nobody needs it
    CHECK(at.pull(k, shares) == "right");
  }
  CHECK(at.aside == 3);
  CHECK(at.far.stats().bytes_pulled == 3 * adapter);
  CHECK(adapter < whole);
  auto gone = policy.published(*at.data, 8);
  at.data->release(gone.adapter.id);
  CHECK(at.pull(8, gone) == "right");
  CHECK(at.aside == 3);
}

TEST_CASE("version pulls: without the base, or with another one, all of every version is pulled, and it is told once") {
  const adapted policy;
  static const tests::temporary_folder folder; // the log stays open
  auto other = model::load_checkpoint(policy.path);
  other.parameters[0].tensor.add_(1);
  model::save_checkpoint(folder / "other", other);
  for (const auto& path : {folder / "other", folder / "gone"}) {
    two_hosts at({.base = path});
    const auto file = folder / "log of " += path.filename();
    telemetry::process_log().open(file);
    for (int k = 1; k < 4; ++k)
      CHECK(at.pull(k, policy.published(*at.data, k)) == "right");
    CHECK(at.aside == 1);
    const auto log = tests::read_file(file);
    CHECK(log.find("version 1: " + path.string() + ": ") != std::string::npos);
    CHECK(log.find("all of it is pulled, and of every later version") != std::string::npos);
    CHECK(log.find("version 2") == std::string::npos);
  }
}

TEST_CASE(
    "version pulls: what is read in place is read whole, and where nothing is kept every version is pulled whole") {
  const adapted policy;
  two_hosts at;
  const auto nothing_aside = [](const auto&) { FAIL("nothing is made of parts"); };
  columns::version_pulls here(*at.data, {.deltas = true, .base = policy.path}, nothing_aside);
  columns::version_pulls plain(at.far, {}, nothing_aside);
  for (int k = 1; k < 4; ++k) {
    CHECK(two_hosts::pull(here, k, at.published(k, k - 1)) == "right");
    CHECK(two_hosts::pull(here, k, policy.published(*at.data, k)) == "right");
    CHECK(two_hosts::pull(plain, k, at.published(k, k - 1)) == "right");
  }
}

} // namespace version_pulls_test
