#include "runtime/access/data_ledger.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <random>

namespace data_ledger_test {

using millrace::access::data_ledger;

namespace {

/// Two connections, known by their addresses.
const int here = 0, there = 0;

} // namespace

TEST_CASE("an endpoint is named only where it was told, and by one connection from then on") {
  data_ledger ledger;
  CHECK_FALSE(ledger.may_name(3, &here));
  ledger.told_endpoint(3, &here, true);
  CHECK(ledger.may_name(3, &here));
  CHECK(ledger.may_name(3, &here));
  CHECK_FALSE(ledger.may_name(3, &there));
  CHECK_FALSE(ledger.may_name(5, &here));
}

TEST_CASE("an endpoint that asks is answered once") {
  data_ledger ledger;
  ledger.told_endpoint(3, &here, true);
  ledger.told_endpoint(5, &here, false);
  CHECK_FALSE(ledger.may_answer(5, &here));
  CHECK(ledger.may_answer(3, &here));
  CHECK_FALSE(ledger.may_answer(3, &here));
  CHECK(ledger.may_name(3, &here));
}

TEST_CASE("a worker keeps the address under which it was met") {
  using millrace::access::tcp_place;
  const tcp_place first{.address = {}, .port = 7, .system_device = {}},
      second{.address = {}, .port = 8, .system_device = {}}, other{.address = {}, .port = 7, .system_device = 1};
  data_ledger ledger;
  CHECK(ledger.agrees({.worker = 1, .places = {other}})); // nobody knows it
  CHECK(ledger.meet({.worker = 1, .places = {first, second}}));
  CHECK(ledger.meet({.worker = 1, .places = {first, second}}));
  CHECK_FALSE(ledger.meet({.worker = 1, .places = {first}}));
  CHECK(ledger.agrees({.worker = 1, .places = {second}})); // an endpoint uses some of its devices
  CHECK_FALSE(ledger.agrees({.worker = 1, .places = {second, other}}));
  CHECK(ledger.agrees({.worker = 2, .places = {other}}));
}

TEST_CASE("what was offered is taken once, by whom it was offered to") {
  data_ledger ledger;
  ledger.told_offer(7, 100, &here);
  CHECK_FALSE(ledger.take_offer(9, &here));
  CHECK_FALSE(ledger.take_offer(7, &there));
  CHECK(ledger.take_offer(7, &here) == 100);
  CHECK_FALSE(ledger.take_offer(7, &here));
}

TEST_CASE("what was demanded comes within it, each byte once") {
  data_ledger ledger;
  ledger.told_demand(7, 100, &here);
  CHECK_FALSE(ledger.may_send(9, 0, 10, &here));
  CHECK_FALSE(ledger.may_send(7, 0, 10, &there));
  CHECK_FALSE(ledger.may_send(7, 0, 101, &here));
  CHECK_FALSE(ledger.may_send(7, 91, 10, &here));
  std::mt19937_64 random(1);
  for (int i = 0; i < 100; ++i)
    CHECK_FALSE(ledger.may_send(7, 91 + random() % (UINT64_MAX - 91), 10, &here));
  CHECK(ledger.may_send(7, 60, 40, &here));
  CHECK_FALSE(ledger.may_send(7, 0, 61, &here));
  CHECK(ledger.may_send(7, 0, 60, &here));
  CHECK_FALSE(ledger.may_send(7, 0, 1, &here)); // it has all
}

TEST_CASE("where answers come over another connection, it is the one that has named the endpoint") {
  data_ledger ledger;
  ledger.told_endpoint(3, &here, true);
  ledger.told_offer(7, 100, &here);
  ledger.told_demand(9, 100, &here);
  CHECK_FALSE(ledger.take_offer(7, &there));
  CHECK(ledger.may_answer(3, &there));
  CHECK(ledger.take_offer(7, &there) == 100);
  CHECK(ledger.may_send(9, 0, 100, &there));
}

TEST_CASE("with a connection goes what was told over it, and what it has named") {
  data_ledger ledger;
  ledger.told_endpoint(3, &here, false);
  ledger.told_endpoint(5, &there, false);
  ledger.told_offer(7, 100, &here);
  ledger.told_demand(9, 100, &here);
  CHECK(ledger.may_name(5, &here));
  ledger.forget(&here);
  CHECK_FALSE(ledger.may_name(3, &here));
  CHECK_FALSE(ledger.may_name(5, &there));
  CHECK_FALSE(ledger.take_offer(7, &here));
  CHECK_FALSE(ledger.may_send(9, 0, 1, &here));
}

} // namespace data_ledger_test
