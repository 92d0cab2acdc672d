#pragma once

#include "runtime/transport/data_plane.hpp"

#include <filesystem>
#include <string>
#include <vector>

namespace millrace::transport {

/// What of this machine, and of the environment that a person has set, the choice depends on.
struct ucx_surroundings {
  std::string interface;         ///< where TCP is to listen, "eth0"
  std::string network_devices;   ///< all of this machine, for people: "lo 127.0.0.1, eth0 10.0.0.5"
  std::vector<std::string> up;   ///< RDMA ports that are up, as UCX names them: "mlx5_0:1"
  std::vector<std::string> down; ///< and those that are not
  std::string tls;               ///< UCX_TLS; "" if it is not set
  std::string net_devices;       ///< UCX_NET_DEVICES; "" if it is not set
};

/// What UCX is allowed to use.
struct ucx_choice {
  std::string transports; ///< a UCX_TLS list
  std::string devices;    ///< a UCX_NET_DEVICES list
  bool tcp = false;       ///< among the transports
  bool rdma = false;      ///< among the transports
};

/// @param bind as data_plane_options::bind
/// @param rdma_devices where the kernel lists them
/// @throws std::runtime_error as interface_of
ucx_surroundings look_around(const std::string& bind,
                             const std::filesystem::path& rdma_devices = "/sys/class/infiniband");

/// The transports that notice a dead peer, which in UCX 1.13 are TCP and RDMA; of these what `how` wants, what the
/// machine has, and what UCX_TLS allows. UCX_NET_DEVICES stands as it is.
/// @throws input_error in one line if nothing is left, naming the devices that are there
ucx_choice choose(wire how, const ucx_surroundings& here);

} // namespace millrace::transport
