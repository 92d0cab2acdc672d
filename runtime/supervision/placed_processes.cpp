#include "runtime/supervision/placed_processes.hpp"

#include <algorithm>
#include <cmath>

namespace millrace::supervision {

std::vector<placed_process> placed_processes(const pipeline::pipeline& p) {
  std::vector<placed_process> result;
  for (const auto& [name, where] : p.placement.roles) {
    const auto count = p.processes_of(name);
    for (std::int64_t i = 0; i < count; ++i)
      result.push_back({{name, static_cast<std::uint32_t>(i), 1}, where.host_of(i)});
  }
  return result;
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
