#include "runtime/columns/version_pulls.hpp"
#include "runtime/columns/weights_delta.hpp"
#include "tests/runtime/transport/planes.hpp"

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

struct publisher {
  std::shared_ptr<transport::data_plane> data =
      std::make_shared<transport::data_plane>(transport::testing::options_of(1));
  columns::version_pulls pulls{*data, true, [this](const auto& work) {
                                 ++patched;
                                 work();
                               }};
  int patched = 0; ///< looked at behind `pull` alone

  weight_shares published(int k, std::optional<int> since = {}, std::optional<transport::bundle> delta = {}) const {
    weight_shares shares = data->publish(version(k));
    if (since) {
      shares.delta = data->publish(delta ? *delta : columns::delta_of(version(*since), version(k)).value());
      shares.since = static_cast<std::uint32_t>(*since);
    }
    return shares;
  }

  /// @returns the first number of version k where all of it came as it was published, else a line
  std::string pull(int k, const weight_shares& from) {
    std::promise<std::string> seen;
    pulls.pull(static_cast<std::uint32_t>(k), from, std::chrono::seconds(30),
               [&](const columns::pulled_weights& pulled, const std::string& error) {
                 const auto want = version(k).checksums();
                 seen.set_value(!error.empty()                                                ? error
                                : pulled.shares.at(0).checksums() == want && want.size() == 1 ? "right"
                                                                                              : "wrong");
               });
    return seen.get_future().get();
  }
};

} // namespace

TEST_CASE("version pulls: behind the version before the delta is enough; else all of it is pulled") {
  publisher at;
  CHECK(at.pull(1, at.published(1)) == "right");
  auto second = at.published(2, 1);
  at.data->release(second.tickets[0].id); // nobody needs it
  CHECK(at.pull(2, second) == "right");
  CHECK(at.patched == 1);
  CHECK(at.pull(5, at.published(5, 4)) == "right"); // it has 2
  CHECK(at.patched == 1);
  CHECK(at.pull(6, at.published(6, 5)) == "right");
  CHECK(at.patched == 2);
  auto gone = at.published(7, 6);
  at.data->release(gone.delta.id);
  CHECK(at.pull(7, gone) == "right");
  CHECK(at.patched == 2);
}

TEST_CASE("version pulls: a delta that leads elsewhere, or nowhere, costs a pull of all") {
  publisher at;
  CHECK(at.pull(1, at.published(1)) == "right");
  CHECK(at.pull(2, at.published(2, 1, columns::delta_of(version(1), version(3)))) == "right");
  CHECK(at.patched == 1);
  CHECK(at.pull(3, at.published(3, 2, version(3))) == "right"); // its columns are others
  CHECK(at.patched == 2);
  CHECK(at.pull(4, at.published(4, 3)) == "right");
  CHECK(at.patched == 3);
}

TEST_CASE("version pulls: where nothing is kept, every version is pulled whole") {
  publisher at;
  columns::version_pulls plain(*at.data, false, [](const auto&) { FAIL("nothing is patched"); });
  for (int k = 1; k < 4; ++k) {
    std::promise<std::string> seen;
    plain.pull(static_cast<std::uint32_t>(k), at.published(k, k - 1), std::chrono::seconds(30),
               [&](const columns::pulled_weights&, const std::string& error) { seen.set_value(error); });
    CHECK(seen.get_future().get() == "");
  }
}

} // namespace version_pulls_test
