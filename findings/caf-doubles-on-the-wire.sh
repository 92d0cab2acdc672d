#!/usr/bin/env bash
# CAF 0.17.6 (Debian 12): its binary serializer does not carry every double. It computes the IEEE 754 representation with
# a loop instead of copying the bits. Not-a-number arrives as -1, negative zero as zero, and a denormal as a huge number.
#
# One would expect: a double arrives as it was sent.
# Millrace therefore sends floating-point numbers as their bits (actors/protocol/wire_types.cpp); wire_types_test sends
# every class of number through every message.
set -euo pipefail
version=0.17.6-2.1+b1
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cd "$here"
for package in libcaf-dev libcaf-core0.17; do
  apt-get download -qq "$package=$version" >/dev/null
done
for package in *.deb; do dpkg -x "$package" unpacked; done
libraries=$here/unpacked/usr/lib/$(gcc -dumpmachine)

cat > doubles.cpp <<'CPP'
#include <caf/all.hpp>

#include <cmath>
#include <cstdio>
#include <limits>
#include <vector>

int main() {
  caf::actor_system_config config;
  caf::actor_system system(config);
  const auto sent_and_got = [&](const char* name, double sent) {
    std::vector<char> bytes;
    caf::binary_serializer sink(system, bytes);
    double got = 0;
    if (sink(sent))
      return;
    caf::binary_deserializer source(system, bytes);
    if (!source(got))
      std::printf("%s: sent %g, got %g, sign %s\n", name, sent, got, std::signbit(got) ? "minus" : "plus");
  };
  using limits = std::numeric_limits<double>;
  sent_and_got("a third", 1.0 / 3);
  sent_and_got("not a number", limits::quiet_NaN());
  sent_and_got("negative zero", -0.0);
  sent_and_got("smallest denormal", limits::denorm_min());
}
CPP
g++ -std=c++17 -O0 -isystem unpacked/usr/include doubles.cpp -L"$libraries" -lcaf_core -pthread -o doubles
LD_LIBRARY_PATH=$libraries timeout 20 ./doubles | tee said
echo "CAF $version"
grep -q '^a third: sent 0.333333, got 0.333333, sign plus$' said
grep -q '^not a number: sent nan, got -1, sign minus$' said
grep -q '^negative zero: sent -0, got 0, sign plus$' said
grep -q '^smallest denormal: sent 4.94066e-324, got .*e+2[0-9][0-9], sign' said
echo "as recorded: not every double arrives as it was sent"
