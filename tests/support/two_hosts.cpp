#include "tests/support/two_hosts.hpp"

#include "tests/support/temporary_folder.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace millrace::tests {
namespace {

std::string ip_program() {
  for (const char* path : {"/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"})
    if (std::filesystem::exists(path))
      return path;
  return {};
}

bool ip(std::vector<std::string> arguments, std::string* out = nullptr) {
  arguments.insert(arguments.begin(), ip_program());
  running_command command(arguments);
  const bool done = command.wait(10).status == 0;
  if (out)
    *out = command.out();
  return done;
}

void need(const std::vector<std::string>& arguments) {
  if (!ip(arguments))
    throw std::runtime_error("ip " + arguments.front() + " failed: no permission to make network namespaces?");
}

std::string name_of(const char* side) {
  return "millrace-" + std::to_string(::getpid()) + "-" + side;
}

} // namespace

bool two_hosts::possible() {
  if (ip_program().empty())
    return false;
  const auto name = name_of("probe");
  const bool made = ip({"netns", "add", name});
  const bool usable = made && ip({"-n", name, "link", "add", "cable", "type", "veth", "peer", "name", "other"});
  if (made)
    ip({"netns", "del", name});
  return usable;
}

two_hosts::two_hosts() : near_(name_of("near")), far_(name_of("far")) {
  for (const auto& name : {near_, far_}) {
    need({"netns", "add", name});
    need({"-n", name, "link", "set", "lo", "up"});
  }
  need({"-n", near_, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", far_});
  need({"-n", near_, "address", "add", std::string(near_address) + "/24", "dev", "cable"});
  need({"-n", far_, "address", "add", std::string(far_address) + "/24", "dev", "cable"});
  if (has_v6()) {
    need({"-n", near_, "address", "add", std::string(near_v6) + "/64", "dev", "cable", "nodad"});
    need({"-n", far_, "address", "add", std::string(far_v6) + "/64", "dev", "cable", "nodad"});
  }
  connect(true);
}

void two_hosts::name(const std::string& near, const std::string& far) const {
  for (const auto& side : {near_, far_}) { // `ip netns exec` lays the file over /etc/hosts
    std::filesystem::create_directories("/etc/netns/" + side);
    write_file("/etc/netns/" + side + "/hosts", "127.0.0.1 localhost\n" + std::string(near_address) + ' ' + near + '\n'
                                                    + far_address + ' ' + far + '\n');
  }
}

bool two_hosts::has_v6() {
  return std::filesystem::exists("/proc/net/if_inet6");
}

two_hosts::~two_hosts() {
  for (const auto& side : {near_, far_}) {
    ip({"netns", "del", side});
    std::filesystem::remove_all("/etc/netns/" + side);
  }
}

std::uint64_t two_hosts::bytes_on_cable() const {
  std::string out;
  if (!ip({"-n", near_, "-statistics", "-json", "link", "show", "dev", "cable"}, &out))
    throw std::runtime_error("no cable");
  const auto counted = nlohmann::json::parse(out).at(0).at("stats64");
  return counted.at("rx").at("bytes").get<std::uint64_t>() + counted.at("tx").at("bytes").get<std::uint64_t>();
}

void two_hosts::connect(bool connected) const {
  for (const auto& name : {near_, far_})
    need({"-n", name, "link", "set", "cable", connected ? "up" : "down"});
}

std::vector<std::string> two_hosts::on(const std::string& name, const std::vector<std::string>& command) const {
  std::vector<std::string> line{ip_program(), "netns", "exec", name};
  line.insert(line.end(), command.begin(), command.end());
  return line;
}

std::vector<std::string> listeners_beside(pid_t pid) {
  std::vector<std::string> found;
  for (const char* family : {"tcp", "tcp6"}) {
    std::ifstream table("/proc/" + std::to_string(pid) + "/net/" + family);
    std::string line;
    std::getline(table, line); // the table's head
    while (std::getline(table, line)) {
      std::istringstream words(line);
      std::string slot, local, remote, state;
      words >> slot >> local >> remote >> state;
      if (state != "0A") // TCP_LISTEN
        continue;
      const auto colon = local.find(':');
      const auto port = std::to_string(std::stoul(local.substr(colon + 1), nullptr, 16));
      if (colon != 8) {
        found.push_back(local.substr(0, colon) + ":" + port);
        continue;
      }
      const in_addr address{static_cast<in_addr_t>(std::stoul(local.substr(0, 8), nullptr, 16))};
      char text[INET_ADDRSTRLEN];
      found.push_back(std::string(inet_ntop(AF_INET, &address, text, sizeof text)) + ":" + port);
    }
  }
  return found;
}

std::vector<pid_t> processes_beside(pid_t pid) {
  const auto space_of = [](const std::string& process) {
    std::error_code gone;
    return std::filesystem::read_symlink("/proc/" + process + "/ns/net", gone).string();
  };
  const auto own = space_of(std::to_string(pid));
  std::vector<pid_t> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const auto name = entry.path().filename().string();
    if (std::ranges::all_of(name, [](unsigned char c) { return std::isdigit(c); }) && space_of(name) == own)
      found.push_back(static_cast<pid_t>(std::stol(name)));
  }
  return found;
}

bool can_have_two_hosts() {
  static const bool possible = two_hosts::possible();
  if (!possible)
    MESSAGE("SKIPPED: this machine does not let us make network namespaces (`ip netns add` needs root), "
            "so nothing here was tested between hosts");
  return possible;
}

} // namespace millrace::tests
