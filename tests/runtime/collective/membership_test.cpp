#include "runtime/collective/membership.hpp"
#include "tests/runtime/collective/ranks.hpp"

#include <doctest/doctest.h>

#include <future>

namespace membership_test {

using namespace millrace::collective;

namespace {

using seconds = std::chrono::seconds;

/// The places of the ranks of a learner. What one says is carried to the others, as a coordinator does.
class all_places {
public:
  explicit all_places(int size, seconds wait_deadline = seconds(30), std::array<std::uint16_t, 2> ports = {}) {
    for (int rank = 0; rank < size; ++rank)
      places_.push_back(std::make_unique<membership>(
          membership::options{.rank = rank,
                              .ports = ports,
                              .key = testing::options_of(rank, size).key,
                              .form_deadline = seconds(30),
                              .wait_deadline = wait_deadline,
                              .exchange_deadline = seconds(30),
                              .leads = rank == 0},
          [this, rank](std::uint32_t generation, const std::string& key, const std::string& value) {
            for (std::size_t other = 0; other < places_.size(); ++other)
              if (static_cast<int>(other) != rank)
                places_[other]->hear(generation, key, value);
          },
          [this](std::uint32_t generation, const std::string& why) {
            const std::lock_guard lock(mutex_);
            complaints_.push_back(std::to_string(generation) + ": " + why);
          }));
  }

  int size() const { return static_cast<int>(places_.size()); }

  membership& of(int rank) { return *places_[static_cast<std::size_t>(rank)]; }

  void form(std::uint32_t generation) {
    for (auto& place : places_)
      place->form(generation, size());
  }

  std::vector<std::string> complaints() const {
    const std::lock_guard lock(mutex_);
    return complaints_;
  }

private:
  std::vector<std::unique_ptr<membership>> places_;
  mutable std::mutex mutex_;
  std::vector<std::string> complaints_;
};

using groups = std::vector<std::shared_ptr<group>>;

/// The next group of every rank, each of which lets go of its last one.
groups groups_after(all_places& all, groups last) {
  groups next(static_cast<std::size_t>(all.size()));
  const auto thrown = testing::on_ranks(all.size(), [&](int rank) {
    const auto at = static_cast<std::size_t>(rank);
    next[at] = all.of(rank).group_after(last.empty() ? nullptr : std::move(last[at]));
  });
  CHECK(thrown == std::vector<std::string>(next.size()));
  return next;
}

void exchange(const groups& ranks) {
  const auto thrown = testing::on_ranks(
      static_cast<int>(ranks.size()), [&](int rank) { testing::exchange_one(*ranks[static_cast<std::size_t>(rank)]); });
  CHECK(thrown == std::vector<std::string>(ranks.size()));
}

} // namespace

TEST_CASE("membership: one group after another, each of its own generation") {
  all_places all(3);
  all.form(1);
  const auto first = groups_after(all, {});
  exchange(first);
  // The group is still the newest one: there is no need for another.
  CHECK(all.of(1).group_after(nullptr) == first[1]);
  for (int rank : {0, 1})
    all.of(rank).part(1, "learner/2 is gone");
  CHECK_THROWS_WITH_AS(testing::exchange_one(*first[0]), "learner/2 is gone", lost);
  all.form(2);
  const auto second = groups_after(all, first);
  for (std::size_t r = 0; r < first.size(); ++r)
    CHECK(second[r] != first[r]);
  exchange(second);
  CHECK(all.complaints().empty());
}

TEST_CASE("membership: a rank that is gone ends an exchange that waits for it, and a group that forms") {
  all_places all(2);
  all.form(1);
  const auto first = groups_after(all, {});
  auto waits = std::async(std::launch::async, [&] { testing::exchange_one(*first[0]); });
  all.of(0).part(1, "learner/1 is gone");
  CHECK_THROWS_WITH_AS(waits.get(), "learner/1 is gone", lost);
  // The next group never comes about: the other rank is gone again. The one after that does.
  all.of(0).form(2, 2);
  auto forms = std::async(std::launch::async, [&] { return all.of(0).group_after(first[0]); });
  all.of(0).part(2, "learner/1 is gone");
  CHECK(forms.wait_for(std::chrono::milliseconds(50)) == std::future_status::timeout);
  all.form(3);
  auto other = std::async(std::launch::async, [&] { return all.of(1).group_after(first[1]); });
  exchange({forms.get(), other.get()});
  CHECK(all.complaints().empty());
}

TEST_CASE("membership: a group that fails while everyone lives is complained of once, and formed anew") {
  all_places all(2);
  all.form(1);
  auto first = groups_after(all, {});
  first[0]->abort("a wire is cut");
  auto next = std::async(std::launch::async, [&] { return groups_after(all, first); });
  const auto deadline = std::chrono::steady_clock::now() + seconds(20);
  while (all.complaints().empty() && std::chrono::steady_clock::now() < deadline)
    std::this_thread::yield();
  REQUIRE(!all.complaints().empty());
  CHECK(all.complaints().front() == "1: an exchange failed");
  all.form(2);
  exchange(next.get());
}

TEST_CASE("membership: one port for each rank is enough for one group after another") {
  all_places all(2, seconds(30), testing::free_ports(2));
  groups now;
  for (const std::uint32_t generation : {1U, 2U, 3U}) {
    all.form(generation); // ends the one before
    now = groups_after(all, std::exchange(now, {}));
    exchange(now);
  }
  CHECK(all.complaints().empty());
}

TEST_CASE("membership: who looks for a rank of another generation is turned away at its port") {
  std::vector<std::unique_ptr<membership>> places;
  std::vector<std::string> complaints(2);
  for (const int rank : {0, 1})
    places.push_back(std::make_unique<membership>(
        membership::options{.rank = rank,
                            .key = testing::options_of(rank, 2).key,
                            .form_deadline = std::chrono::milliseconds(500),
                            .exchange_deadline = seconds(30)},
        // The other one takes the words of this one's generation for those of its own.
        [&places, rank](std::uint32_t generation, const std::string& key, const std::string& value) {
          places[static_cast<std::size_t>(1 - rank)]->hear(3 - generation, key, value);
        },
        [&complaints, rank](std::uint32_t, const std::string& why) {
          complaints[static_cast<std::size_t>(rank)] = why;
        }));
  places[0]->form(1, 2);
  places[1]->form(2, 2);
  std::vector<std::future<std::shared_ptr<group>>> next;
  for (auto& place : places)
    next.push_back(std::async(std::launch::async, [&place] { return place->group_after(nullptr); }));
  for (const auto& one : next)
    CHECK(one.wait_for(std::chrono::milliseconds(1500)) == std::future_status::timeout);
  for (auto& place : places)
    place->close();
  for (auto& one : next)
    CHECK(one.get() == nullptr);
  for (const auto& why : complaints)
    CHECK(!why.empty());
}

TEST_CASE("membership: whoever leads waits for a group until the deadline, and nobody once it is closed") {
  all_places all(2, seconds(1));
  CHECK_THROWS_WITH_AS(all.of(0).group_after(nullptr), "the learner's ranks have not all come within 1 s",
                       std::runtime_error);
  auto idle = std::async(std::launch::async, [&] { return all.of(1).group_after(nullptr); });
  CHECK(idle.wait_for(std::chrono::milliseconds(1200)) == std::future_status::timeout);
  all.of(1).close();
  CHECK(idle.get() == nullptr);
}

} // namespace membership_test
