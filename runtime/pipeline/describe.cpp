#include "runtime/pipeline/pipeline.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/pipeline/wording.hpp"
#include "runtime/words/decimal.hpp"
#include "runtime/words/enum_words.hpp"

#include <algorithm>

namespace millrace::pipeline {

std::string place_of(const pipeline& p, const role& r) {
  const auto placed = p.placement.roles.find(r.name);
  const std::int64_t count = p.processes_of(r.name);
  if (count == 0)
    return "this process";
  auto hosts = p.placement.hosts_of(placed->second);
  std::replace(hosts.begin(), hosts.end(), std::string(), std::string("this host"));
  const bool ranks = r.ranks() && count > 1;
  const std::string processes = std::to_string(count) + (ranks ? " ranks" : count == 1 ? " process" : " processes");
  const auto shard = p.shard_of(r.name);
  return processes + (p.is_here(r.name) ? " of this host" : " on " + joined(hosts))
         + (ranks && shard != sharding::none ? ", shard " + std::string(word(shard)) : "");
}

std::string describe(const pipeline& p) {
  std::string out = "run " + p.run.name + ": " + std::to_string(p.run.steps) + " steps of "
                    + std::to_string(p.schedule.groups_per_step) + " groups, " + p.schedule.preset + " (depth "
                    + decimal(p.schedule.gate.depth) + ", stale.max " + decimal(p.schedule.stale.max)
                    + (p.schedule.interrupt.mode == schedule::interrupt_mode::pause ? ", in-flight update" : "")
                    + ")\n";
  for (const role& r : p.roles) {
    out += r.name + " (" + std::string(r.kind()) + ", " + place_of(p, r) + "): " + std::string(r.summary()) + '\n';
    if (!r.from.empty())
      out += "    from   " + joined(r.from) + "\n    reads  " + joined(r.reads) + '\n';
    if (!r.adds.empty())
      out += "    adds   " + joined(r.adds) + '\n';
    if (const auto* policy = std::get_if<policy_table>(&r.options))
      out += "    trains " + policy->model + " by " + policy->algorithm
             + (policy->publishes_to.empty() ? "" : ", publishes to " + joined(policy->publishes_to)) + '\n';
  }
  for (const auto& warning : schedule_warnings(p))
    out += "warning: " + warning + '\n';
  return out;
}

} // namespace millrace::pipeline
