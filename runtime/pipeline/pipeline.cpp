#include "runtime/pipeline/pipeline.hpp"

#include "runtime/words/columns.hpp"

#include <algorithm>
#include <stdexcept>

namespace millrace::pipeline {

std::vector<std::string> policy_table::reads(const vocabulary& words) const {
  auto columns = column::names(column::prompt_tokens, column::tokens, column::mask, column::logprob, column::version,
                               column::lengths);
  const auto add = [&](const std::string& column) {
    if (std::find(columns.begin(), columns.end(), column) == columns.end())
      columns.push_back(column);
  };
  if (const algorithm_type* type = words.algorithm(algorithm))
    for (const std::string& column : type->reads) {
      if (column != column::reward.name || rewards.empty())
        add(column);
      else
        for (const reward_part_table& part : rewards)
          add(column::reward_of(part.name).name);
    }
  if (loss.kl_coefficient > 0 || algorithm_number("kl_in_reward") > 0)
    add(std::string(column::ref_logprob.name));
  if (mask_truncated)
    add(std::string(column::finish.name));
  return columns;
}

double policy_table::algorithm_number(std::string_view option) const {
  const auto found = algorithm_options.find(option);
  const double* number = found == algorithm_options.end() ? nullptr : std::get_if<double>(&found->second);
  return number ? *number : 0;
}

std::string_view role::kind() const {
  return std::visit([](const auto& table) { return table.kind; }, options);
}

std::string_view role::summary() const {
  return std::visit([](const auto& table) { return table.summary; }, options);
}

bool role::heavy() const {
  return std::visit([](const auto& table) { return table.heavy; }, options);
}

bool role::ranks() const {
  return std::visit(
      [](const auto& table) {
        return requires {
          table.ranks;
        };
      },
      options);
}

bool role::replicated() const {
  return std::visit([](const auto& table) { return table.replicated; }, options);
}

const role& pipeline::at(std::string_view name) const {
  const auto it = std::find_if(roles.begin(), roles.end(), [&](const role& r) { return r.name == name; });
  if (it == roles.end())
    throw std::out_of_range("no role '" + std::string(name) + "'");
  return *it;
}

std::vector<std::string> pipeline::readers_of(std::string_view name) const {
  std::vector<std::string> readers;
  for (const role& r : roles)
    if (std::find(r.from.begin(), r.from.end(), name) != r.from.end())
      readers.push_back(r.name);
  return readers;
}

std::vector<const role*> pipeline::behind(std::string_view name) const {
  std::vector<const role*> reached;
  const auto reads = [&](const std::string& from) {
    return from == name || std::any_of(reached.begin(), reached.end(), [&](const role* r) { return r->name == from; });
  };
  for (const role& r : roles) // each stands after those that it reads from
    if (std::any_of(r.from.begin(), r.from.end(), reads))
      reached.push_back(&r);
  return reached;
}

std::int64_t pipeline::processes_of(std::string_view name) const {
  const auto it = placement.roles.find(std::string(name));
  if (it == placement.roles.end())
    return 0;
  const role_placement& p = it->second;
  if (p.processes > 0 || p.hosts.texts.empty())
    return p.processes;
  return static_cast<std::int64_t>(placement.hosts_of(p).size());
}

std::string pipeline::host_of(std::string_view name, std::int64_t index) const {
  const auto it = placement.roles.find(std::string(name));
  if (it == placement.roles.end())
    return "";
  const auto hosts = placement.hosts_of(it->second);
  const auto there = static_cast<std::int64_t>(hosts.size());
  const auto host =
      it->second.spread == host_spread::hosts ? index % there : index * there / std::max(there, processes_of(name));
  return hosts[static_cast<std::size_t>(host)];
}

bool pipeline::is_here(std::string_view name) const {
  const auto it = placement.roles.find(std::string(name));
  return it == placement.roles.end() || placement.hosts_of(it->second) == std::vector<std::string>{""};
}

sharding pipeline::shard_of(std::string_view name) const {
  const auto it = placement.roles.find(std::string(name));
  return it == placement.roles.end() ? sharding::none : it->second.shard;
}

mistake pipeline::mistake_at(const std::string& path, const std::string& why) const {
  const position* where = nearest_place(places, path);
  return {where ? *where : position{.source = file.string()}, path + ": " + why};
}

bool pipeline::operator==(const pipeline& other) const {
  return run == other.run && models == other.models && roles == other.roles && schedule == other.schedule
         && placement == other.placement;
}

double sampling_temperature(const pipeline& p) {
  const auto rollouts = p.of<rollout_table>();
  return rollouts.empty() ? 1 : std::get<rollout_table>(rollouts.front()->options).temperature;
}

const std::string& device_of(const pipeline& p, const role& role) {
  return role.device.empty() ? p.run.device : role.device;
}

std::string device_key(const role& role) {
  return role.device.empty() ? "run.device" : "roles." + role.name + ".device";
}

std::int64_t threads_of(const pipeline& p, std::string_view role_name, std::int64_t cores) {
  const role& asked = p.at(role_name);
  if (asked.threads > 0)
    return asked.threads;
  if (!asked.heavy())
    return 1;
  const auto hosts = [&](const role& r) {
    const auto it = p.placement.roles.find(r.name);
    return it == p.placement.roles.end() ? std::vector<std::string>{""} : p.placement.hosts_of(it->second);
  };
  const auto here = [&](const role& r) { return hosts(r).front().empty(); };
  const auto processes = [&](const role& r) { // on one host
    const auto there = static_cast<std::int64_t>(hosts(r).size());
    return std::max<std::int64_t>(1, (p.processes_of(r.name) + there - 1) / there);
  };
  const auto trains = [](const role& r) {
    return std::holds_alternative<policy_table>(r.options) || std::holds_alternative<critic_table>(r.options);
  };
  if (!here(asked))
    return std::max<std::int64_t>(1, cores);
  const bool synchronous = p.schedule.place.mode == schedule::place_mode::timeshare;
  if (synchronous && !trains(asked))
    return std::max<std::int64_t>(1, cores / processes(asked));
  std::int64_t sharers = 0;
  for (const role& r : p.roles)
    if (r.heavy() && here(r) && (!synchronous || trains(r)))
      sharers += processes(r);
  return std::max<std::int64_t>(1, cores / sharers);
}

} // namespace millrace::pipeline
