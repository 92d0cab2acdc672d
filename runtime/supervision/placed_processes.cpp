#include "runtime/supervision/placed_processes.hpp"

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

namespace millrace::supervision {
namespace {

/// Gives the processes with `gpus = "all"` theirs.
void deal_out_others(const pipeline::pipeline& p, std::vector<placed_process>& processes) {
  std::map<std::string, std::set<std::uint32_t>> taken; // by host
  for (const auto& one : processes)
    if (one.gpu)
      taken[one.host].insert(*one.gpu);
  for (auto& one : processes) {
    if (!p.placement.roles.at(one.role.role).gpus.all)
      continue;
    auto& theirs = taken[one.host];
    std::uint32_t lowest = 0;
    while (theirs.contains(lowest))
      ++lowest;
    theirs.insert(lowest);
    one.gpu = lowest;
  }
}

} // namespace

std::vector<placed_process> placed_processes(const pipeline::pipeline& p) {
  std::vector<placed_process> result;
  for (const auto& [name, where] : p.placement.roles) {
    const auto count = p.processes_of(name);
    std::map<std::string, std::size_t> before; // of this role, by host
    for (std::int64_t i = 0; i < count; ++i) {
      placed_process next{{name, static_cast<std::uint32_t>(i), 1}, p.host_of(name, i)};
      if (!where.gpus.numbers.empty())
        next.gpu = static_cast<std::uint32_t>(where.gpus.numbers.at(before[next.host]++));
      result.push_back(std::move(next));
    }
  }
  deal_out_others(p, result);
  return result;
}

std::uint32_t free_gpu(const std::map<std::string, placed_process>& lives, const placed_process& process) {
  std::set<std::uint32_t> taken;
  for (const auto& [name, other] : lives)
    if (other.gpu && other.host == process.host && other.role != process.role)
      taken.insert(*other.gpu);
  std::uint32_t lowest = 0;
  while (taken.contains(lowest))
    ++lowest;
  return lowest;
}

std::string lacks_gpu(std::uint32_t gpu, std::size_t there) {
  return "found " + std::to_string(there) + (there == 1 ? " GPU, want " : " GPUs, want ")
         + std::to_string(std::size_t{gpu} + 1) + ": each process has one";
}

void check_gpus(const pipeline::pipeline& p, std::size_t there) {
  std::map<std::string, std::uint32_t> highest; // by role
  for (const auto& placed : placed_processes(p))
    if (placed.host.empty() && placed.gpu)
      highest[placed.role.role] = std::max(highest[placed.role.role], *placed.gpu);
  for (const auto& [role, gpu] : highest)
    if (gpu >= there)
      throw pipeline::pipeline_errors({p.mistake_at("placement." + role + ".gpus", lacks_gpu(gpu, there))});
}

std::vector<role_instance> embedded_roles(const pipeline::pipeline& p) {
  std::vector<role_instance> result;
  for (const auto& role : p.roles)
    if (!std::holds_alternative<pipeline::source_table>(role.options) && p.processes_of(role.name) == 0)
      result.push_back({role.name, 0, 1});
  return result;
}

restart restart_rule::died(const std::string& instance, const std::string& how, double now, std::size_t others) {
  const int false_starts = ++false_starts_[instance];
  auto& deaths = deaths_[instance];
  deaths.push_back(now);
  while (deaths.front() < now - window_s)
    deaths.pop_front();
  const int too_many =
      std::max(false_starts - allowed_false_starts, static_cast<int>(deaths.size()) - static_cast<int>(allowed_deaths));
  if (too_many <= 0)
    return {};
  if (others > 0)
    return {.after_s = std::min(longest_wait_s, 0.5 * std::pow(2.0, too_many - 1)), .refusal = ""};
  if (false_starts > allowed_false_starts)
    return {.refusal = instance + " died " + std::to_string(false_starts)
                       + " times in a row before it was ready, the last time of " + how};
  return {.refusal = instance + " died " + std::to_string(deaths.size()) + " times within "
                     + std::to_string(static_cast<int>(window_s)) + " s without any work, the last time of " + how};
}

} // namespace millrace::supervision
