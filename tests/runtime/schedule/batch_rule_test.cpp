#include "runtime/schedule/batch_rule.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <random>

namespace batch_rule_test {

using namespace millrace;
using namespace millrace::schedule;

namespace {

using ids = std::vector<group_id>;

config rule(std::uint32_t size, double stale_max, select_order select) {
  config result;
  result.groups_per_step = size;
  result.stale.max = stale_max;
  result.select.order = select;
  return result;
}

/// A group that runs at once.
void begin(batch_rule& it, group_id id, version_id age_from) {
  it.queue(id);
  it.start(id, age_from);
}

batch_rule::started is(bool ready) {
  return ready ? batch_rule::started::is_ready : batch_rule::started::waits_for_columns;
}

struct plain_group {
  group_id id;
  std::uint32_t born; ///< 1000: queued
  bool ready;
};

/// The rule as batch_rule.hpp states it, by counting.
std::optional<ids> by_counting(const config& wanted, std::vector<plain_group> live, std::uint32_t step) {
  const auto key = [&](const plain_group& one) {
    return std::pair{wanted.select.order == select_order::in_order ? 0 : one.born, one.id};
  };
  std::sort(live.begin(), live.end(), [&](const auto& a, const auto& b) { return key(a) < key(b); });
  ids taken;
  for (const auto& one : live) {
    if (taken.size() == wanted.groups_per_step)
      break;
    if (one.ready)
      taken.push_back(one.id);
    else if (wanted.select.order == select_order::in_order)
      return std::nullopt;
  }
  if (taken.size() < wanted.groups_per_step)
    return std::nullopt;
  std::sort(taken.begin(), taken.end());
  if (wanted.select.order == select_order::oldest)
    for (auto k = step; k <= step + wanted.stale.max; ++k)
      if (std::count_if(live.begin(), live.end(),
                        [&](const auto& one) {
                          return one.born != 1000 && one.born + wanted.stale.max <= k
                                 && !std::binary_search(taken.begin(), taken.end(), one.id);
                        })
          > std::int64_t{wanted.groups_per_step} * (k - step))
        return std::nullopt;
  return taken;
}

/// An update that is its whole step.
std::optional<ids> cut(batch_rule& it, std::uint32_t step, std::size_t size, bool last = false) {
  return it.cut({.step = step, .size = size, .last = last});
}

} // namespace

TEST_CASE("in order waits for the lowest ids and ignores readier ones") {
  batch_rule it(rule(2, 0, select_order::in_order));
  for (group_id id : {0, 1, 2, 3})
    begin(it, id, 0);
  for (group_id id : {1, 2, 3})
    it.ready(id, 0, 0, 5);
  CHECK_FALSE(cut(it, 0, 2));
  it.ready(0, 0, 0, 5);
  CHECK(cut(it, 0, 2) == ids{0, 1});
  CHECK(cut(it, 1, 2) == ids{2, 3});
}

TEST_CASE("oldest takes ready groups past running ones while those can still make their deadline") {
  batch_rule it(rule(2, 1, select_order::oldest));
  for (group_id id : {0, 1, 2, 3, 4})
    begin(it, id, 0);
  it.ready(3, 0, 0, 5);
  it.ready(4, 0, 0, 5);
  // Left behind: 0 1 2, all due at step 1, which has room for two.
  CHECK_FALSE(cut(it, 0, 2));
  CHECK(it.missing_for_bound({.step = 0, .size = 2}) == 1);
  it.ready(1, 0, 0, 5);
  CHECK_FALSE(cut(it, 0, 2)); // still five live for two steps of two
  it.leave(2, 0, batch_rule::started::waits_for_columns);
  CHECK(cut(it, 0, 2) == ids{1, 3});
}

TEST_CASE("fewer than a batch are cut only as the last, once nothing is waiting") {
  batch_rule it(rule(3, 0, select_order::in_order));
  begin(it, 0, 0);
  begin(it, 1, 0);
  it.ready(0, 0, 0, 5);
  CHECK_FALSE(cut(it, 0, 3, true));
  it.ready(1, 0, 0, 5);
  CHECK_FALSE(cut(it, 0, 3));
  CHECK(cut(it, 0, 3, true) == ids{0, 1});
  CHECK_FALSE(cut(it, 1, 3, true));
}

TEST_CASE("each order prefers its own, the bound takes what it must first") {
  struct one {
    group_id id;
    version_id born;
    std::int64_t tokens;
  };

  const std::vector<one> by_arrival{{3, 1, 100}, {0, 0, 9}, {4, 2, 12}, {1, 0, 120}, {2, 1, 10}};
  const auto taken = [&](select_order order, double stale_max) {
    auto wanted = rule(2, stale_max, order);
    if (stale_max == unlimited)
      wanted.stale.action = stale_action::train;
    batch_rule it(wanted);
    for (const auto& each : by_arrival)
      begin(it, each.id, each.born);
    for (const auto& each : by_arrival)
      it.ready(each.id, each.born, each.born, each.tokens);
    return cut(it, 2, 2).value();
  };
  CHECK(taken(select_order::oldest, unlimited) == ids{0, 1});
  CHECK(taken(select_order::ready, unlimited) == ids{0, 3});
  CHECK(taken(select_order::freshest, unlimited) == ids{2, 4});
  CHECK(taken(select_order::length_bucket, unlimited) == ids{0, 2}); // 9 and 10 tokens; 12 has a higher id
  // At step 2 with a bound of 2, versions 0 are due now: both are forced in whatever the order prefers.
  CHECK(taken(select_order::freshest, 2) == ids{0, 1});
  CHECK(taken(select_order::ready, 3) == ids{0, 3}); // due at 3: two of versions 0 and 1 fit there
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
          begin(it, next++, step);
          break;
        case 2:
        case 3:
        case 4:
          if (!live.empty() && !live[which].ready && live[which].born != 1000) {
            live[which].ready = true;
            it.ready(live[which].id, live[which].born, live[which].born, 10);
          }
          break;
        case 5:
          if (!live.empty() && live[which].born != 1000) {
            it.requeue(live[which].id, live[which].born, is(live[which].ready));
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
              it.leave(live[which].id, live[which].born, is(live[which].ready));
            live.erase(live.begin() + static_cast<std::ptrdiff_t>(which));
          }
          break;
        default: {
          const auto want = by_counting(wanted, live, step);
          const auto got = cut(it, step, wanted.groups_per_step);
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

} // namespace batch_rule_test
