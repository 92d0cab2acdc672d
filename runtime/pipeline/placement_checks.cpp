#include "runtime/pipeline/checks.hpp"
#include "runtime/pipeline/wording.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <string_view>

namespace millrace::pipeline {
namespace {

bool is_address(std::string_view host) {
  const std::size_t colon = host.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || host.size() > 255)
    return false;
  int port = 0;
  const auto [end, error] = std::from_chars(host.data() + colon + 1, host.data() + host.size(), port);
  const bool bracketed = host.front() == '[' && host[colon - 1] == ']';
  const bool plain = std::all_of(host.begin(), host.begin() + static_cast<std::ptrdiff_t>(colon), [&](unsigned char c) {
    return c < 0x80 && (std::isalnum(c) || c == '.' || c == '-' || (bracketed && (c == ':' || c == '[' || c == ']')));
  });
  return plain && error == std::errc() && end == host.data() + host.size() && port >= 1 && port <= 65535;
}

/// How many ports each host needs, by the name that the placement gives it; "" is this host.
std::map<std::string, std::int64_t> ports_needed(const pipeline& p) {
  std::map<std::string, std::int64_t> needed{{"", 1}}; // the run's own process
  for (const auto& [name, placed] : p.placement.roles) {
    const std::int64_t count = p.processes_of(name);
    const auto role = std::find_if(p.roles.begin(), p.roles.end(),
                                   [&, &wanted = name](const auto& other) { return other.name == wanted; });
    const std::int64_t each = role != p.roles.end() && role->ranks() && count > 1 ? 2 : 1;
    for (std::int64_t i = 0; i < count; ++i)
      needed[placed.host_of(i)] += each;
  }
  return needed;
}

void check_data_ports(const pipeline& p, reading& into) {
  const auto& ports = p.placement.data_ports;
  if (ports.empty())
    return;
  const auto place = into.place("placement.data_ports");
  if (ports.size() != 2 || ports[0] > ports[1])
    return into.wrong(place, "placement.data_ports: want the first and the last port, such as [7100, 7199]");
  const auto there = ports[1] - ports[0] + 1;
  for (const auto& [host, needed] : ports_needed(p))
    if (there < needed)
      into.wrong(place, "placement.data_ports: found " + std::to_string(there) + (there == 1 ? " port" : " ports")
                            + ", want " + std::to_string(needed) + " for " + (host.empty() ? "this host" : host)
                            + ": one for each process, and one more for each rank");
}

} // namespace

void check_placement(const pipeline& p, reading& into) {
  bool remote = false;
  for (const auto& [name, placed] : p.placement.roles) {
    const std::string path = "placement." + name;
    const auto r = std::find_if(p.roles.begin(), p.roles.end(),
                                [&, &wanted = name](const role& other) { return other.name == wanted; });
    if (r == p.roles.end()) {
      std::vector<std::string> known = names_of(p.roles);
      known.insert(known.end(), {"transport", "secret_file", "connect_timeout_s", "port", "data_ports"});
      into.wrong(into.place(path + "/key"), "placement: no role " + in_quotes(name) + suggestion(name, known));
      continue;
    }
    const std::int64_t count = p.processes_of(name);
    const std::string key = path + (placed.processes > 0 ? ".processes" : ".hosts");
    if (count > 1 && !r->replicated() && !r->ranks())
      into.wrong(into.place(key), key + ": found " + std::to_string(count) + " processes, want 1: a role of kind \""
                                      + std::string(r->kind()) + "\" is one");
    if (placed.shard != sharding::none && !r->ranks())
      into.wrong(into.place(path + ".shard"), path + ".shard: found " + in_quotes(word(placed.shard))
                                                  + " of a role of kind \"" + std::string(r->kind())
                                                  + "\", want it of a policy or a critic");
    if (const auto* policy = std::get_if<policy_table>(&r->options);
        policy && policy->lora && placed.shard == sharding::full)
      into.wrong(into.place(path + ".shard"), path + ".shard: found \"full\" with roles." + name
                                                  + ".lora, whose adapters alone are trained, want \"none\" or "
                                                    "\"optimizer\"");
    if (placed.processes > 0 && placed.processes < static_cast<std::int64_t>(placed.hosts.size()))
      into.wrong(into.place(key), key + ": found " + std::to_string(count) + " with "
                                      + std::to_string(placed.hosts.size()) + " hosts, want at least one for each");
    for (std::size_t i = 0; i < placed.hosts.size(); ++i)
      if (!is_address(placed.hosts[i]))
        into.wrong(into.place(path + ".hosts." + std::to_string(i)),
                   path + ".hosts: found " + in_quotes(placed.hosts[i]) + ", want ADDRESS:PORT of a `millrace node`");
    if (placed.hosts.empty())
      continue;
    remote = true;
    if (p.placement.secret_file.empty())
      into.wrong(into.place(path + ".hosts"),
                 path + ".hosts: found hosts without placement.secret_file, want the file with the nodes' secret");
  }
  check_data_ports(p, into);
  if (remote && p.placement.transport == "shm")
    into.wrong(into.place("placement.transport"),
               "placement.transport: found \"shm\" with roles on other hosts, want another one");
}

} // namespace millrace::pipeline
