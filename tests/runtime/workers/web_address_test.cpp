#include "runtime/words/input_error.hpp"
#include "runtime/workers/web_address.hpp"

#include <doctest/doctest.h>

#include <string>

namespace web_address_test {

using namespace millrace;
using workers::web_address;
using workers::web_address_from;

TEST_CASE("an address has a scheme, a host, a port and a target") {
  CHECK(web_address_from("http://host/score?x=1") == web_address{false, "host", "80", "/score?x=1"});
  CHECK(web_address_from("https://host") == web_address{true, "host", "443", "/"});
  CHECK(web_address_from("http://10.0.0.1:8080?a") == web_address{false, "10.0.0.1", "8080", "/?a"});
  CHECK(web_address_from("https://[fd00::1]:444/a") == web_address{true, "fd00::1", "444", "/a"});
  CHECK(web_address_from("http://host:80/").authority() == "host");
  CHECK(web_address_from("https://host:80/").authority() == "host:80");
  CHECK(web_address_from("http://[::1]:5000/").authority() == "[::1]:5000");
}

TEST_CASE("what is no address that can be asked is refused in one line") {
  for (const char* bad :
       {"", "host", "ftp://host/", "http://", "http:///x", "http://:80/", "http://host:/", "http://host:0/",
        "http://host:65536/", "http://host:8x/", "http://me:secret@host/", "http://host/#part", "http://host/a b",
        "http://host/\r\nX: y", "http://[::1", "http://[::1]x/", "file:///etc/passwd", "http://h\xc3\xb6st/"}) {
    CAPTURE(bad);
    CHECK_THROWS_AS(web_address_from(bad), input_error);
  }
  CHECK_THROWS_WITH_AS(web_address_from("ftp://h"),
                       "found \"ftp://h\", want http://HOST[:PORT]/PATH or https://HOST[:PORT]/PATH", input_error);
}

} // namespace web_address_test
