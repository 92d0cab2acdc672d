#!/usr/bin/env bash
# Boost.Beast 1.74 (Debian 12): a parser that is eager, as http::read and http::async_read make it, does not keep
# `body_limit` where bytes of the body arrive together with the head. The error is found and then overwritten.
#
# One would expect: a body whose Content-Length is above the limit is refused.
# Millrace therefore reads the head alone first (runtime/workers/web_client.cpp); web_client_test sends bodies that are
# too long.
set -euo pipefail
version=1.74.0+ds1-21
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"
apt-get download -qq "libboost1.74-dev=$version" >/dev/null
for package in *.deb; do dpkg -x "$package" unpacked; done

cat > limit.cpp <<'CPP'
#include <boost/beast/http.hpp>

#include <cstdio>
#include <string>

int main() {
  namespace http = boost::beast::http;
  const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n", body(17, 'x');
  for (const bool eager : {false, true})
    for (const std::string& bytes : {head, head + body}) {
      http::response_parser<http::string_body> parser;
      parser.eager(eager);
      parser.body_limit(16);
      boost::beast::error_code error;
      parser.put(boost::asio::buffer(bytes), error);
      std::printf("%s, %s: %s\n", eager ? "eager" : "not eager", bytes == head ? "head" : "head and body",
                  error.message().c_str());
    }
}
CPP
g++ -std=c++17 -O0 -isystem unpacked/usr/include limit.cpp -pthread -o limit
timeout 20 ./limit | tee said
echo "Boost $version"
grep -q '^not eager, head: body limit exceeded$' said
grep -q '^not eager, head and body: body limit exceeded$' said
grep -q '^eager, head: body limit exceeded$' said
grep -q '^eager, head and body: Success$' said
echo "as recorded: an eager parser takes a body that is longer than its limit"
