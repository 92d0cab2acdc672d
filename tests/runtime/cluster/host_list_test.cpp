#include "runtime/cluster/host_list.hpp"
#include "runtime/words/input_error.hpp"

#include <doctest/doctest.h>

namespace host_list_test {

using namespace millrace;
using cluster::hosts_in;
using strings = std::vector<std::string>;

namespace {

std::string refusal_of(const std::string& list) {
  try {
    hosts_in(list);
  } catch (const input_error& error) {
    return error.what();
  }
  return "read";
}

} // namespace

TEST_CASE("a list of hosts is expanded in its order, with its leading zeros") {
  CHECK(hosts_in("a") == strings{"a"});
  CHECK(hosts_in("mill-a,mill-b") == strings{"mill-a", "mill-b"});
  CHECK(hosts_in("n[2,1]") == strings{"n2", "n1"});
  CHECK(hosts_in("gpu[1-3,08],x7") == strings{"gpu1", "gpu2", "gpu3", "gpu08", "x7"});
  CHECK(hosts_in("n[098-101]") == strings{"n098", "n099", "n100", "n101"});
  CHECK(hosts_in("r[0-1]n[2,1]-ib") == strings{"r0n2-ib", "r0n1-ib", "r1n2-ib", "r1n1-ib"});
  CHECK(hosts_in("n[00001-65536]").size() == 65536);
}

TEST_CASE("a list that is none is refused in one line that says why") {
  CHECK(refusal_of("") == "list of hosts '': found no name between two commas, want names such as gpu[1-3],gpu7");
  for (const char* list : {"a,,b", ",a", "a,", "n[1,,2]", "n[]"})
    CHECK(refusal_of(list).find("found no name between two commas") != std::string::npos);
  for (const char* list : {"n[1-3", "n1-3]", "n[1[2]]", "n]1[", "n[1,2"})
    CHECK(refusal_of(list).find("found a bracket without its other half") != std::string::npos);
  for (const char* list : {"n[a]", "n[1-]", "n[-1]", "n[1-2-3]", "n[1 2]", "n[99999999999999999999]"})
    CHECK(refusal_of(list).find("in brackets, want numbers and ranges") != std::string::npos);
  CHECK(refusal_of("n[3-1]").find("want it to count up") != std::string::npos);
  for (const char* list : {"n[0-65536]", "n[0-999999999999]"})
    CHECK(refusal_of(list).find("to 65536 hosts at most") != std::string::npos);
  CHECK(hosts_in(std::string(255, 'n')).size() == 1);
  CHECK(refusal_of(std::string(256, 'n')).find("a name of more than 255 characters") != std::string::npos);
  CHECK(refusal_of("n[1-9]" + std::string(254, 'm')).find("a name of more than 255") != std::string::npos);
  for (const char* list : {"n[0-255]m[0-255]k[0-1]", "n[0-65535],a"})
    CHECK(refusal_of(list).find("found more than 65536 hosts") != std::string::npos);
}

} // namespace host_list_test
