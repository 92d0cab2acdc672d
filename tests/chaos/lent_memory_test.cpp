#include "tests/chaos/chaos.hpp"
#include "tests/runtime/transport/owner_process.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <random>

/// Processes that lend their memory to others of their host, and die or freeze at any moment.
namespace lent_memory_test {

using namespace millrace;
using namespace millrace::transport;
using namespace millrace::transport::testing;
using namespace std::chrono_literals;

namespace {

constexpr int pulls = 60;
constexpr auto deadline = 400ms;

struct outcomes {
  std::mutex mutex;
  std::vector<int> ends = std::vector<int>(pulls, 0); ///< of each pull
  std::vector<bundle> whole;
  std::vector<pull_status> failed;
  std::promise<void> all;
  int left = pulls;
};

/// Lent memory that this process maps.
int mappings() {
  const auto maps = tests::read_file("/proc/self/maps");
  int found = 0;
  for (auto at = maps.find("/memfd:millrace"); at != std::string::npos; at = maps.find("/memfd:millrace", at + 1))
    ++found;
  return found;
}

/// The owner's bundles 2 and 3, of 100 kB and 64 MiB, and their tickets.
struct sent_bundles {
  bundle small = random_bundle(owned_sizes[2], 2), large = random_bundle(owned_sizes[3], 3);
  ticket of_small = owner_process::ticket_of(2), of_large = owner_process::ticket_of(3);
};

void strike(std::uint64_t seed, const sent_bundles& sent) {
  CAPTURE(seed);
  std::mt19937_64 random(seed);
  const wire how = random() % 2 == 0 ? wire::automatic : wire::shm;
  const int signal = random() % 2 == 0 ? SIGKILL : SIGSTOP;
  const int at = static_cast<int>(random() % pulls); // which pull's end brings the blow; the last ones: while idle
  owner_process owner(how);
  auto options = options_of(2, how);
  options.max_outstanding_pulls = 1 + random() % 4;
  data_plane plane(options);
  plane.add_peer(1, owner.address());
  outcomes seen;
  const int before = mappings();
  for (int i = 0; i < pulls; ++i)
    plane.pull(random() % 4 == 0 ? sent.of_small : sent.of_large, deadline, [&, i](pull_result got) {
      const std::lock_guard lock(seen.mutex);
      ++seen.ends[static_cast<std::size_t>(i)];
      if (got)
        seen.whole.push_back(std::move(got.value));
      else
        seen.failed.push_back(got.status);
      if (i == at)
        owner.signal(signal);
      if (--seen.left == 0)
        seen.all.set_value();
    });
  REQUIRE(seen.all.get_future().wait_for(10s) == std::future_status::ready); // no hang
  owner.signal(SIGKILL);
  CHECK(std::ranges::all_of(seen.ends, [](int ends) { return ends == 1; }));
  for (const auto status : seen.failed)
    CHECK((status == pull_status::peer_lost || status == pull_status::timed_out));
  CHECK(std::ranges::none_of(seen.failed, [&](pull_status s) {
    return signal == SIGKILL && s == pull_status::timed_out; // a death is noticed, not waited out
  }));
  std::set<const std::byte*> compared;
  for (const auto& one : seen.whole) // what arrived is whole, though its owner is dead
    if (one.bytes() == sent.of_small.bytes || compared.size() < 5)
      if (compared.insert(one.columns()[0].bytes.data()).second)
        CHECK(same(one, one.bytes() == sent.of_small.bytes ? sent.small : sent.large));
  seen.whole.clear();
  CHECK(mappings() == before);
}

} // namespace

TEST_CASE("owner process over auto" * doctest::skip()) {
  own(wire::automatic);
}

TEST_CASE("owner process over shm" * doctest::skip()) {
  own(wire::shm);
}

TEST_CASE("an owner dies or freezes while its memory is lent: each pull ends once, in time, whole or not at all") {
  const auto shared_before = tests::names_in("/dev/shm");
  const sent_bundles sent;
  const std::uint64_t trials = tests::long_sweep() ? 300 : 12;
  for (std::uint64_t seed = 1; seed <= trials; ++seed)
    strike(seed, sent);
  CHECK(tests::names_in("/dev/shm") == shared_before);
}

} // namespace lent_memory_test
