#include "runtime/access/socket_calls.hpp"
#include "runtime/transport/ucx_choice.hpp"
#include "runtime/transport/ucx_worker.hpp"
#include "runtime/words/input_error.hpp"
#include "tests/runtime/transport/planes.hpp"
#include "tests/support/temporary_folder.hpp"

#include <doctest/doctest.h>

#include <cstdlib>

namespace ucx_choice_test {

using namespace millrace;
using namespace millrace::transport;
using namespace millrace::transport::testing;

namespace {

ucx_surroundings with_rdma() {
  return {.interface = "eth0",
          .network_devices = "lo 127.0.0.1, eth0 10.0.0.5",
          .up = {"mlx5_0:1", "mlx5_1:1"},
          .down = {"mlx5_2:1"},
          .tls = "",
          .net_devices = ""};
}

ucx_surroundings without_rdma() {
  auto here = with_rdma();
  here.up.clear();
  here.down.clear();
  return here;
}

/// "transports on devices", or why there are none.
std::string chosen(wire how, ucx_surroundings here, const std::string& tls = "", const std::string& devices = "") {
  here.tls = tls;
  here.net_devices = devices;
  try {
    const auto choice = choose(how, here);
    CHECK(choice.tcp == (choice.transports.find("tcp") != std::string::npos));
    CHECK(choice.rdma == (choice.transports != "tcp"));
    return choice.transports + " on " + choice.devices;
  } catch (const input_error& error) {
    return error.what();
  }
}

/// A variable of the environment while this lives.
class in_environment {
public:
  in_environment(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }

  ~in_environment() { ::unsetenv(name_); }

  in_environment(const in_environment&) = delete;
  in_environment& operator=(const in_environment&) = delete;

private:
  const char* name_;
};

} // namespace

TEST_CASE("auto takes RDMA and TCP where there is an RDMA device, and TCP alone where there is none") {
  CHECK(chosen(wire::automatic, without_rdma()) == "tcp on eth0");
  CHECK(chosen(wire::automatic, with_rdma()) == "rc,dc,ud,tcp on eth0,mlx5_0:1,mlx5_1:1");
  for (const auto& here : {with_rdma(), without_rdma()}) {
    CHECK(chosen(wire::tcp, here) == "tcp on eth0");
    CHECK(chosen(wire::shm, here) == "tcp on eth0");
  }
}

TEST_CASE("rdma takes no TCP, and where there is no device it names those that are there") {
  CHECK(chosen(wire::rdma, with_rdma()) == "rc,dc,ud on mlx5_0:1,mlx5_1:1");
  CHECK(chosen(wire::rdma, without_rdma())
        == "found \"rdma\" on a machine without an RDMA device that is up, want \"auto\" or \"tcp\"; its devices: lo "
           "127.0.0.1, eth0 10.0.0.5");
  auto all_down = with_rdma();
  all_down.up.clear();
  CHECK(chosen(wire::rdma, all_down).ends_with("eth0 10.0.0.5, mlx5_2:1 (down)"));
  CHECK(chosen(wire::automatic, all_down) == "tcp on eth0");
}

TEST_CASE("UCX_TLS narrows the choice and adds nothing to it") {
  const auto here = with_rdma();
  CHECK(chosen(wire::automatic, here, "all") == chosen(wire::automatic, here));
  CHECK(chosen(wire::automatic, here, "tcp") == "tcp on eth0");
  CHECK(chosen(wire::automatic, here, "tcp,cma,posix") == "tcp on eth0");
  CHECK(chosen(wire::automatic, here, "rc_x,self,ud_verbs") == "rc_x,ud_verbs on mlx5_0:1,mlx5_1:1");
  CHECK(chosen(wire::automatic, here, "ib,tcp") == "ib,tcp on eth0,mlx5_0:1,mlx5_1:1");
  CHECK(chosen(wire::automatic, here, "^dc,posix") == "rc,ud,tcp on eth0,mlx5_0:1,mlx5_1:1");
  CHECK(chosen(wire::automatic, here, "^ib") == "tcp on eth0");
  CHECK(chosen(wire::rdma, here, "rc_x,tcp") == "rc_x on mlx5_0:1,mlx5_1:1");
  CHECK(chosen(wire::automatic, without_rdma(), "rc,tcp") == "tcp on eth0");
  CHECK(chosen(wire::tcp, here, "rc,posix")
        == "found \"tcp\" with UCX_TLS=rc,posix in the environment, which allows none of tcp: these notice a dead peer "
           "here; devices: lo 127.0.0.1, eth0 10.0.0.5, mlx5_0:1, mlx5_1:1, mlx5_2:1 (down)");
  CHECK(chosen(wire::rdma, here, "tcp").starts_with("found \"rdma\" with UCX_TLS=tcp in the environment"));
  CHECK(chosen(wire::automatic, here, "TCP").starts_with("found \"auto\" with UCX_TLS=TCP in the environment"));
}

TEST_CASE("UCX_NET_DEVICES stands as it is") {
  CHECK(chosen(wire::automatic, with_rdma(), "", "mlx5_1:1,eth0") == "rc,dc,ud,tcp on mlx5_1:1,eth0");
  CHECK(chosen(wire::tcp, without_rdma(), "", "all") == "tcp on all");
}

TEST_CASE("RDMA ports are read where the kernel lists them") {
  const tests::temporary_folder folder;
  for (const auto& [port, state] :
       {std::pair("mlx5_1/ports/1", "4: ACTIVE\n"), std::pair("mlx5_0/ports/2", "1: DOWN\n"),
        std::pair("mlx5_0/ports/1", "4: ACTIVE\n")}) {
    std::filesystem::create_directories(folder / port);
    tests::write_file(folder / port / "state", state);
  }
  const auto here = look_around({}, folder.path());
  CHECK(here.up == std::vector<std::string>{"mlx5_0:1", "mlx5_1:1"});
  CHECK(here.down == std::vector<std::string>{"mlx5_0:2"});
  CHECK(here.interface == "lo");
  CHECK(here.network_devices.starts_with("lo 127.0.0.1"));
  const auto none = look_around({}, folder / "nothing");
  CHECK(none.up.empty());
}

TEST_CASE("what a person has set in the environment reaches UCX") {
  {
    const in_environment tls("UCX_TLS", "posix");
    CHECK_THROWS_AS(data_plane{options_of(1, wire::automatic)}, input_error);
  }
  {
    const in_environment device("UCX_NET_DEVICES", "no_such_device");
    CHECK_THROWS_WITH_AS(data_plane{options_of(1, wire::tcp)}, "UCX: transports tcp on no_such_device: No such device",
                         std::runtime_error);
  }
  const in_environment tls("UCX_TLS", "posix,tcp"), devices("UCX_NET_DEVICES", "lo");
  pair_of_planes two(wire::automatic);
  CHECK(pull(two.b, two.a.publish(random_bundle(10, 1))));
  CHECK(two.b.describe().starts_with("node 2: tcp on lo\nnode 1: tcp/lo"));
}

TEST_CASE("a person's settings of UCX do not change how frames are written that are judged") {
  const in_environment protocols("UCX_PROTO_ENABLE", "y"), version("UCX_ADDRESS_VERSION", "v2"),
      debug("UCX_ADDRESS_DEBUG_INFO", "y"), unified("UCX_UNIFIED_MODE", "y"), numbers("UCX_PROTO_INDIRECT_ID", "n"),
      scheme("UCX_RNDV_SCHEME", "am");
  pair_of_planes two(wire::tcp);
  const auto content = random_bundle(200'000, 1);
  CHECK(same(pull(two.b, two.a.publish(content)).value, content));
}

TEST_CASE("UCX leaves out the transports and devices that are not there") {
  boost::asio::io_context loop;
  const access::guard_data guard(options_of(1).key);
  const ucx_context context({.transports = "rc,dc,ud,tcp", .devices = "lo,mlx5_0:1", .tcp = true, .rdma = true}, {});
  const ucx_worker worker(loop, context, [](ucx_worker::incoming&) {});
  CHECK_FALSE(worker.address().empty());
}

} // namespace ucx_choice_test
