#include "runtime/transport/ucx_choice.hpp"

#include "runtime/transport/interface.hpp"
#include "runtime/words/enum_words.hpp"
#include "runtime/words/input_error.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

namespace millrace::transport {
namespace {

using strings = std::vector<std::string>;

strings parts_of(const std::string& list) {
  strings parts;
  std::istringstream in(list);
  for (std::string part; std::getline(in, part, ',');)
    if (!part.empty())
      parts.push_back(part);
  return parts;
}

std::string list_of(const strings& parts) {
  std::string list;
  for (const auto& part : parts)
    list += (list.empty() ? "" : ",") + part;
  return list;
}

bool has(const strings& parts, const std::string& part) {
  return std::ranges::find(parts, part) != parts.end();
}

/// "rc_mlx5" and "rc_x" are kinds of "rc".
std::string family_of(const std::string& transport) {
  return transport.substr(0, transport.find('_'));
}

/// What of `wanted` a UCX_TLS list allows, in its words.
strings allowed(const std::string& tls, const strings& wanted) {
  if (tls.empty() || tls == "all")
    return wanted;
  strings left;
  if (tls.starts_with('^')) {
    const auto without = parts_of(tls.substr(1));
    for (const auto& transport : wanted)
      if (!has(without, transport) && (transport == "tcp" || !has(without, "ib")))
        left.push_back(transport);
    return left;
  }
  for (const auto& transport : parts_of(tls))
    if (has(wanted, family_of(transport)) || (transport == "ib" && has(wanted, "rc")))
      left.push_back(transport);
  return left;
}

std::string devices_in_words(const ucx_surroundings& here) {
  std::string text = here.network_devices;
  for (const auto& port : here.up)
    text += ", " + port;
  for (const auto& port : here.down)
    text += ", " + port + " (down)";
  return text;
}

std::string set_in_environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

} // namespace

ucx_surroundings look_around(const std::string& bind, const std::filesystem::path& rdma_devices) {
  ucx_surroundings here{.interface = interface_of(bind),
                        .network_devices = interfaces_in_words(),
                        .up = {},
                        .down = {},
                        .tls = set_in_environment("UCX_TLS"),
                        .net_devices = set_in_environment("UCX_NET_DEVICES")};
  std::error_code none;
  for (const auto& device : std::filesystem::directory_iterator(rdma_devices, none))
    for (const auto& port : std::filesystem::directory_iterator(device.path() / "ports", none)) {
      std::string state;
      std::getline(std::ifstream(port.path() / "state"), state); // "4: ACTIVE"
      auto& list = state.find("ACTIVE") != std::string::npos ? here.up : here.down;
      list.push_back(device.path().filename().string() + ':' + port.path().filename().string());
    }
  std::ranges::sort(here.up);
  std::ranges::sort(here.down);
  return here;
}

ucx_choice choose(wire how, const ucx_surroundings& here) {
  const strings rdma{"rc", "dc", "ud"};
  if (how == wire::rdma && here.up.empty())
    throw input_error("found \"rdma\" on a machine without an RDMA device that is up, want \"auto\" or \"tcp\"; its "
                      "devices: "
                      + devices_in_words(here));
  strings wanted;
  if (how == wire::rdma || (how == wire::automatic && !here.up.empty()))
    wanted = rdma;
  if (how != wire::rdma)
    wanted.push_back("tcp");
  const auto left = allowed(here.tls, wanted);
  if (left.empty())
    throw input_error("found \"" + word(how) + "\" with UCX_TLS=" + here.tls
                      + " in the environment, which allows none of " + list_of(wanted)
                      + ": these notice a dead peer here; devices: " + devices_in_words(here));
  ucx_choice choice{.transports = list_of(left), .devices = here.net_devices, .tcp = has(left, "tcp"), .rdma = false};
  choice.rdma = std::ranges::any_of(left, [](const auto& transport) { return transport != "tcp"; });
  if (choice.devices.empty()) {
    strings devices = choice.rdma ? here.up : strings{};
    if (choice.tcp)
      devices.insert(devices.begin(), here.interface);
    choice.devices = list_of(devices);
  }
  return choice;
}

} // namespace millrace::transport
