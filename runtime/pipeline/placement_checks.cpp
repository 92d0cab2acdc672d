#include "runtime/pipeline/checks.hpp"
#include "runtime/pipeline/wording.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <set>
#include <string_view>

namespace millrace::pipeline {
namespace {

constexpr int most_gpus = 128; // of one machine

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
      needed[p.host_of(name, i)] += each;
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

void check_addresses(const std::vector<std::string>& hosts, const std::string& path, const std::string& want,
                     reading& into) {
  for (std::size_t i = 0; i < hosts.size(); ++i)
    if (!is_address(hosts[i]))
      into.wrong(into.place(path + '.' + std::to_string(i)),
                 path + ": found " + in_quotes(hosts[i]) + ", want " + want);
}

void check_hosts(const pipeline& p, const std::string& name, const role_placement& placed, reading& into) {
  const std::string path = "placement." + name;
  const auto& hosts = placed.hosts.texts;
  if (!placed.on_any_host()) {
    if (placed.processes > 0 && placed.processes < static_cast<std::int64_t>(hosts.size()))
      into.wrong(into.place(path + ".processes"), path + ".processes: found " + std::to_string(placed.processes)
                                                      + " with " + std::to_string(hosts.size())
                                                      + " hosts, want at least one for each");
    check_addresses(hosts, path + ".hosts", "\"any\" or ADDRESS:PORT of `millrace node`s", into);
  }
  if (!p.is_here(name) && p.placement.secret_file.empty())
    into.wrong(into.place(path + ".hosts"),
               path + ".hosts: found hosts without placement.secret_file, want the file with the nodes' secret");
}

/// Whether a word names a device of a role: "cuda:" and a number of GPUs that there can be.
bool is_device(std::string_view word) {
  if (word == "auto" || word == "cpu" || word == "cuda")
    return true;
  int number = -1;
  const auto digits = word.substr(std::min(word.size(), std::string_view("cuda:").size()));
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return word.starts_with("cuda:") && error == std::errc() && end == digits.data() + digits.size() && number >= 0
         && number < most_gpus && std::to_string(number) == digits;
}

void check_device(const role& r, reading& into) {
  if (const std::string key = "roles." + r.name + ".device"; !r.device.empty() && !is_device(r.device))
    into.wrong(into.place(key), key + ": found " + in_quotes(r.device)
                                    + ", want \"auto\", \"cpu\", \"cuda\" or \"cuda:N\" with the number of a GPU");
}

/// How many GPUs a host has is known when the run starts.
void check_gpus(const pipeline& p, const role& r, const role_placement& placed, reading& into) {
  const auto& name = r.name;
  if (placed.gpus.none())
    return;
  const std::string path = "placement." + name + ".gpus";
  const auto wrong = [&](const std::string& why) { into.wrong(into.place(path), path + ": " + why); };
  if (const auto& device = device_of(p, r); device == "cpu" || device.find(':') != device.npos)
    wrong("found GPUs with " + device_key(r) + " = \"" + device + "\", want \"cuda\" or \"auto\" there");
  const auto count = p.processes_of(name);
  if (count == 0)
    return wrong("found GPUs of a role in the run's own process, want placement." + name + ".processes above 0");
  if (placed.gpus.all)
    return;
  std::map<std::string, std::int64_t> on_host;
  for (std::int64_t i = 0; i < count; ++i)
    ++on_host[p.host_of(name, i)];
  const auto there = static_cast<std::int64_t>(placed.gpus.numbers.size());
  for (const auto& [host, processes] : on_host)
    if (there < processes)
      return wrong("found " + std::to_string(there) + (there == 1 ? " GPU" : " GPUs") + ", want "
                   + std::to_string(processes) + ", one for each process on " + (host.empty() ? "this host" : host));
}

void check_collective(const pipeline& p, const role& r, const role_placement& placed, reading& into) {
  if (placed.collective == rank_wire::automatic)
    return;
  const std::string path = "placement." + r.name + ".collective";
  const std::string found = path + ": found " + in_quotes(word(placed.collective));
  if (!r.ranks())
    into.wrong(into.place(path),
               found + " of a role of kind \"" + std::string(r.kind()) + "\", want it of a policy or a critic");
  else if (placed.collective == rank_wire::nccl && device_of(p, r) == "cpu")
    into.wrong(into.place(path), found + " with " + device_key(r) + " = \"cpu\", want \"cuda\" or \"auto\" there");
}

} // namespace

void check_placement(const pipeline& p, reading& into) {
  bool remote = false;
  for (const role& r : p.roles)
    check_device(r, into);
  for (const auto& [name, placed] : p.placement.roles) {
    const std::string path = "placement." + name;
    const auto r = std::find_if(p.roles.begin(), p.roles.end(),
                                [&, &wanted = name](const role& other) { return other.name == wanted; });
    if (r == p.roles.end()) {
      std::vector<std::string> known = names_of(p.roles);
      known.insert(known.end(), {"transport", "secret_file", "connect_timeout_s", "port", "data_ports", "nodes"});
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
    check_collective(p, *r, placed, into);
    if (const auto* policy = std::get_if<policy_table>(&r->options);
        policy && policy->lora && placed.shard == sharding::full)
      into.wrong(into.place(path + ".shard"), path + ".shard: found \"full\" with roles." + name
                                                  + ".lora, whose adapters alone are trained, want \"none\" or "
                                                    "\"optimizer\"");
    if (const auto* policy = std::get_if<policy_table>(&r->options);
        policy && policy->publish_deltas && count > 1 && placed.shard == sharding::full)
      into.wrong(into.place(path + ".shard"), path + ".shard: found \"full\" with roles." + name
                                                  + ".publish_deltas, want \"none\" or \"optimizer\": ranks that "
                                                    "have shares publish those");
    check_hosts(p, name, placed, into);
    check_gpus(p, *r, placed, into);
    remote = remote || !p.is_here(name);
  }
  check_addresses(p.placement.nodes, "placement.nodes", "ADDRESS:PORT of a `millrace node`", into);
  check_data_ports(p, into);
  if (remote && p.placement.transport == "shm")
    into.wrong(into.place("placement.transport"),
               "placement.transport: found \"shm\" with roles on other hosts, want another one");
}

void check_precision(const pipeline& p, reading& into) {
  const auto refuse = [&](auto found, bool wrong, const std::string& key, const std::string& why) {
    if (found != decltype(found)::float32 && wrong)
      into.wrong(into.place(key), key + ": found \"" + word(found) + "\", want \"float32\" " + why);
  };
  std::set<std::string> computing, sampled;           ///< models that generate or score; of rollouts
  std::map<std::string, std::string> gpu, sampled_on; ///< the same of those on a GPU, and why it is one
  for (const role& r : p.roles)
    std::visit(
        [&](const auto& table) {
          using type = std::decay_t<decltype(table)>;
          constexpr bool samples = std::is_same_v<type, rollout_table>, caches = requires {
            table.cache_dtype;
          };
          if constexpr (caches || std::is_same_v<type, reference_table> || std::is_same_v<type, reward_model_table>) {
            const auto& device = device_of(p, r);
            const auto why = "with " + device_key(r) + " = \"" + device + "\": a GPU keeps float32 alone";
            computing.insert(table.model);
            if (samples)
              sampled.insert(table.model);
            if (!device.starts_with("cuda"))
              return;
            gpu.emplace(table.model, why);
            if (samples)
              sampled_on.emplace(table.model, why);
            if constexpr (caches)
              refuse(table.cache_dtype, true, "roles." + r.name + ".cache_dtype", why);
          }
        },
        r.options);
  for (const auto& [name, model] : p.models) {
    if (const auto there = gpu.find(name); there != gpu.end())
      refuse(model.dtype, true, "models." + name + ".dtype", there->second);
    refuse(model.dtype, !computing.contains(name), "models." + name + ".dtype",
           "of a model that no role generates or scores with: learners keep float32");
    if (!model.rollout_dtype)
      continue;
    const std::string key = "models." + name + ".rollout_dtype";
    if (const auto there = sampled_on.find(name); there != sampled_on.end())
      refuse(*model.rollout_dtype, true, key, there->second);
    const std::string found = key + ": found \"" + word(*model.rollout_dtype) + "\", want ";
    if (!sampled.contains(name))
      into.wrong(into.place(key), found + "no such key: no role of kind \"rollout\" samples with this model");
    if (*model.rollout_dtype < sampled_as(model.dtype))
      into.wrong(into.place(key), found + "\"bfloat16\" or \"int8\": dtype has rounded the weights to bfloat16 before");
  }
}

} // namespace millrace::pipeline
