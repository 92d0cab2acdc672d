#include "runtime/cluster/endpoint.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

#include <string>

namespace endpoint_test {

using namespace millrace;
using namespace millrace::cluster;

namespace {

std::string refusal_of(const std::string& text) {
  try {
    parse_endpoint(text);
    return "";
  } catch (const input_error& error) {
    return error.what();
  }
}

} // namespace

TEST_CASE("an endpoint is an address or a name, and a port") {
  const auto plain = parse_endpoint("10.0.0.2:7000");
  CHECK(plain.address == "10.0.0.2");
  CHECK(plain.port == 7000);
  const auto named = parse_endpoint("localhost:7001");
  CHECK(named.address == "127.0.0.1");
  CHECK(named.port == 7001);
}

TEST_CASE("what is no endpoint is named") {
  CHECK(refusal_of("10.0.0.2") == "'10.0.0.2': no port, want HOST:PORT such as 10.0.0.2:7000 or [fd00::2]:7000");
  CHECK(refusal_of("10.0.0.2:99999").find("'99999' is no port") != std::string::npos);
  CHECK(refusal_of("no-such-host.invalid:7000").find("no name that this host can resolve") != std::string::npos);
  CHECK(refusal_of(":7000").find("no name that this host can resolve") != std::string::npos);
}

TEST_CASE("an IPv6 address stands in brackets, and its text is read again") {
  const auto v6 = parse_endpoint("[::1]:7000");
  CHECK(v6.address == "::1");
  CHECK(v6.port == 7000);
  CHECK(text_of(v6) == "[::1]:7000");
  CHECK(text_of(parse_endpoint("10.0.0.2:7000")) == "10.0.0.2:7000");
  CHECK(parse_endpoint("[fd00:0:0::2]:1").address == "fd00::2");
  CHECK(refusal_of("::1:7000").find("more than one colon outside of brackets") != std::string::npos);
  CHECK(refusal_of("[::1]").find("no port") != std::string::npos);
  CHECK(refusal_of("[]:7000").find("no name that this host can resolve") != std::string::npos);
}

} // namespace endpoint_test
