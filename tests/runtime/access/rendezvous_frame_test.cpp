#include "runtime/access/rendezvous_frame.hpp"
#include "tests/runtime/access/data_frames.hpp"

#include <doctest/doctest.h>

#include <random>
#include <string>

namespace rendezvous_frame_test {

using namespace millrace::access;
using namespace millrace::access::testing;

namespace {

std::string with(std::string content, std::size_t at, const std::string& bytes) {
  return content.replace(at, bytes.size(), bytes);
}

/// "I do not want what your request 3 offers": its status and its bytes are behind it.
std::string refusal(int status) {
  return number(3, 8) + number(static_cast<std::uint8_t>(status), 1) + number(100'044, 8);
}

std::string why_no_offer(const std::string& content) {
  offer_frame offer;
  return read_offer(bytes_of(content), offer);
}

std::string why_no_demand(const std::string& content) {
  demand_frame demand;
  return read_demand(bytes_of(content), demand);
}

std::string why_no_refusal(const std::string& content) {
  refusal_frame refused;
  return read_refusal(bytes_of(content), refused);
}

} // namespace

TEST_CASE("offers, demands and refusals as workers say them are read as they were meant") {
  offer_frame offer;
  CHECK(read_offer(bytes_of(said_offer), offer) == "");
  CHECK(offer.endpoint == 3);
  CHECK(offer.request == 3);
  CHECK(offer.bytes == 100'044);
  demand_frame demand;
  CHECK(read_demand(bytes_of(said_demand), demand) == "");
  CHECK(demand.offered == 3);
  CHECK(demand.request == 3);
  CHECK(demand.bytes == 100'044);
  refusal_frame refused;
  CHECK(read_refusal(bytes_of(refusal(0)), refused) == "");
  CHECK(read_refusal(bytes_of(refusal(-16)), refused) == "");
  CHECK(refused.request == 3);
}

TEST_CASE("an offer or a demand that no process of a run makes is refused, and the reason names the field") {
  struct row {
    const std::string* of;
    const char* field;
    std::size_t at, bytes;
    const char* reason;
  };

  std::mt19937_64 random(20'260'805);
  for (const auto& [of, field, at, bytes, reason] :
       {row{&said_offer, "handler", 0, 2, "an offer for handler "},
        row{&said_offer, "header", 4, 4, " with a header of "},
        row{&said_offer, "request", 16, 8, "an offer of 100044 bytes by request "},
        row{&said_offer, "protocol", 40, 1, ", protocol "}, row{&said_offer, "domains", 41, 8, "a key of domains "},
        row{&said_offer, "memory", 49, 1, " and memory "}, row{&said_demand, "request", 8, 8, "a demand by request "},
        row{&said_demand, "offset", 32, 8, "a demand of 100044 bytes from "},
        row{&said_demand, "domains", 40, 8, "a key of domains "}, row{&said_demand, "memory", 48, 1, " and memory "}}) {
    CAPTURE(field);
    int refused = 0;
    for (int i = 0; i < 100; ++i) {
      const auto content = with(*of, at, number(random(), bytes));
      const auto why = of == &said_offer ? why_no_offer(content) : why_no_demand(content);
      refused += !why.empty();
      CHECK((why.empty() || why.find(reason) != std::string::npos));
    }
    CHECK(refused >= 30); // half of all numbers could be a request
  }
}

TEST_CASE("a frame of a rendezvous with bytes behind it, or fewer of them, is refused") {
  std::mt19937_64 random(20'260'806);
  CHECK(why_no_refusal(refusal(1)) == "a refusal with status 1");
  CHECK_FALSE(why_no_offer(said_offer + "x").empty());
  CHECK_FALSE(why_no_demand(said_demand + "x").empty());
  CHECK_FALSE(why_no_refusal(refusal(0) + "x").empty());
  for (int i = 0; i < 20; ++i) {
    CHECK_FALSE(why_no_offer(said_offer.substr(0, random() % said_offer.size())).empty());
    CHECK_FALSE(why_no_demand(said_demand.substr(0, random() % said_demand.size())).empty());
    CHECK_FALSE(why_no_refusal(refusal(0).substr(0, random() % refusal(0).size())).empty());
  }
}

} // namespace rendezvous_frame_test
