#include "runtime/schedule/batch_rule.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

using namespace millrace::schedule;

namespace {

using ids = std::vector<group_id>;

config rule(std::uint32_t size, std::uint32_t stale_max, select_order select) {
  config result;
  result.groups_per_step = size;
  result.stale_max = stale_max;
  result.select = select;
  return result;
}

struct plain_group {
  group_id id;
  std::uint32_t born; ///< 1000: queued
  bool ready;
};

/// The rule as batch_rule.hpp states it, by counting.
std::optional<ids> by_counting(const config& wanted, std::vector<plain_group> live, std::uint32_t step) {
  const auto key = [&](const plain_group& one) { return std::pair{wanted.select == select_order::in_order ? 0 : one.born, one.id}; };
  std::sort(live.begin(), live.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
  ids taken;
  for (const auto& one : live) {
    if (taken.size() == wanted.groups_per_step)
      break;
    if (one.ready)
      taken.push_back(one.id);
    else if (wanted.select == select_order::in_order)
      return std::nullopt;
  }
  if (taken.size() < wanted.groups_per_step)
    return std::nullopt;
  std::sort(taken.begin(), taken.end());
  if (wanted.select == select_order::oldest)
    for (auto k = step; k <= step + wanted.stale_max; ++k)
      if (std::count_if(live.begin(), live.end(), [&](const auto& one) {
            return one.born != 1000 && one.born + wanted.stale_max <= k && !std::binary_search(taken.begin(), taken.end(), one.id);
          }) > std::int64_t{wanted.groups_per_step} * (k - step))
        return std::nullopt;
  return taken;
}

} // namespace

TEST_CASE("in order waits for the lowest ids and ignores readier ones") {
  batch_rule it(rule(2, 0, select_order::in_order));
  for (group_id id : {0, 1, 2, 3})
    it.start(id, 0);
  it.ready(1, 0);
  it.ready(2, 0);
  it.ready(3, 0);
  CHECK_FALSE(it.cut(0, false));
  CHECK(it.blocked(0, 8).groups == ids{0});
  CHECK(it.blocked(0, 8).count == 1);
  it.ready(0, 0);
  CHECK(it.cut(0, false) == ids{0, 1});
  CHECK(it.cut(1, false) == ids{2, 3});
}

TEST_CASE("oldest takes ready groups past running ones while those can still make their deadline") {
  batch_rule it(rule(2, 1, select_order::oldest));
  for (group_id id : {0, 1, 2, 3, 4})
    it.start(id, 0);
  it.ready(3, 0);
  it.ready(4, 0);
  // Left behind: 0 1 2, all due at step 1, which has room for two.
  CHECK_FALSE(it.cut(0, false));
  CHECK(it.blocked(0, 8).bound);
  CHECK(it.blocked(0, 8).count == 1);
  CHECK(it.blocked(0, 8).groups == ids{0});
  it.ready(1, 0);
  CHECK_FALSE(it.cut(0, false)); // still five live for two steps of two
  it.leave(2, 0);
  CHECK(it.cut(0, false) == ids{1, 3});
}

TEST_CASE("fewer than a batch are cut only as the last, once nothing is waiting") {
  batch_rule it(rule(3, 0, select_order::in_order));
  it.start(0, 0);
  it.start(1, 0);
  it.ready(0, 0);
  CHECK_FALSE(it.cut(0, true));
  it.ready(1, 0);
  CHECK_FALSE(it.cut(0, false));
  CHECK(it.cut(0, true) == ids{0, 1});
  CHECK_FALSE(it.cut(1, true));
}

TEST_CASE("the incremental rule decides as counting does, for any order of calls") {
  for (const auto select : {select_order::in_order, select_order::oldest}) {
    std::mt19937_64 random(7);
    for (int round = 0; round < 300; ++round) {
      const auto wanted = rule(1 + random() % 4, random() % 4, select);
      batch_rule it(wanted);
      std::vector<plain_group> live;
      group_id next = 0;
      std::uint32_t step = 0;
      for (int call = 0; call < 80; ++call) {
        const auto which = live.empty() ? 0 : random() % live.size();
        switch (random() % 8) {
          case 0:
          case 1:
            live.push_back({next, step, false});
            it.start(next++, step);
            break;
          case 2:
          case 3:
          case 4:
            if (!live.empty() && !live[which].ready && live[which].born != 1000) {
              live[which].ready = true;
              it.ready(live[which].id, live[which].born);
            }
            break;
          case 5:
            if (!live.empty() && live[which].born != 1000) {
              it.requeue(live[which].id, live[which].born);
              live[which] = {live[which].id, 1000, false};
            } else if (!live.empty()) {
              live[which].born = step;
              it.start(live[which].id, step);
            }
            break;
          case 6:
            if (!live.empty() && random() % 4 == 0) {
              if (live[which].born == 1000)
                it.leave_queued(live[which].id);
              else
                it.leave(live[which].id, live[which].born);
              live.erase(live.begin() + static_cast<std::ptrdiff_t>(which));
            }
            break;
          default: {
            const auto want = by_counting(wanted, live, step);
            const auto got = it.cut(step, false);
            REQUIRE(got == want);
            if (!got)
              break;
            std::erase_if(live, [&](const auto& one) { return std::binary_search(got->begin(), got->end(), one.id); });
            ++step;
          }
        }
        REQUIRE(it.live() == live.size());
      }
    }
  }
}
