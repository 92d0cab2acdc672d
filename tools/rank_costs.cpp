#include "tools/rank_costs.hpp"

#include "algorithms/algorithm.hpp"
#include "tools/memory_plan.hpp"

#include <algorithm>
#include <utility>
#include <variant>

namespace millrace::tools {
namespace {

/// How the policy's steps are cut.
schedule::workload with_cut(schedule::workload costs, const pipeline::pipeline& p) {
  const auto& table = std::get<pipeline::policy_table>(p.policy().options);
  costs.ranks = static_cast<std::uint32_t>(p.processes_of(p.policy().name));
  costs.micro_batch_tokens = static_cast<double>(table.micro_batch_tokens);
  costs.updates = static_cast<std::uint32_t>(table.updates_per_batch);
  costs.whole_groups = algorithms::find(table.algorithm)->whole == algorithms::unit::group ? 1 : 0;
  if (!table.skip_flat_groups)
    costs.flat_share = 0;
  return costs;
}

} // namespace

rank_traffic traffic_of(std::uint64_t numbers, std::int64_t ranks, sharding shard) {
  const double others = 4 * static_cast<double>(numbers) * static_cast<double>(ranks - 1) / static_cast<double>(ranks);
  // Gradients; with `full`, parameters too, forwards and backwards.
  if (shard == sharding::full)
    return {.a_round = 3 * others, .an_update = 0};
  return {.a_round = others, .an_update = others}; // the sum, or the parameters that others have updated
}

std::uint64_t trained_numbers_of(const pipeline::pipeline& p) {
  const auto& name = p.policy().name;
  std::int64_t bytes = 0, processes = 0;
  for (const auto& process : memory_plan_of(p).processes)
    for (const auto& part : process.parts)
      if (part.role == name && part.kind == memory_kind::moments) {
        bytes += part.bytes; // two numbers for each that is trained
        ++processes;
      }
  const auto copies = p.shard_of(name) == sharding::none ? std::max<std::int64_t>(1, processes) : 1;
  return static_cast<std::uint64_t>(bytes / copies) / (2 * sizeof(float));
}

schedule::workload with_traffic(schedule::workload costs, const pipeline::pipeline& p,
                                const pipeline::cluster_table& cluster) {
  const auto& policy = p.policy();
  const auto& table = std::get<pipeline::policy_table>(policy.options);
  const auto& model = p.models.at(table.model);
  if (const double rate = cluster.publication.bytes_per_s; rate > 0)
    costs.layout_s += static_cast<double>(numbers_of_model(model.path)) * bytes_a_number(model.dtype) / rate;
  const auto ranks = p.processes_of(policy.name);
  if (const double rate = cluster.training.exchange_bytes_per_s; rate > 0 && ranks > 1) {
    const auto traffic = traffic_of(trained_numbers_of(p), ranks, p.shard_of(policy.name));
    costs = with_cut(std::move(costs), p);
    costs.train_token_s *= static_cast<double>(ranks);
    costs.exchange_s = traffic.a_round / rate;
    costs.train_s += traffic.an_update / rate;
  }
  return costs;
}

schedule::workload with_ranks(schedule::workload costs, const pipeline::pipeline& p, const rank_costs& of_ranks) {
  const auto& name = p.policy().name;
  const auto ranks = p.processes_of(name);
  if (ranks < 2)
    return costs;
  const auto& table = std::get<pipeline::policy_table>(p.policy().options);
  const auto numbers = static_cast<double>(trained_numbers_of(p));
  const auto updates = static_cast<double>(p.schedule.clock.minibatches * table.updates_per_batch * table.epochs);
  costs = with_cut(std::move(costs), p);
  costs.rank_contention = of_ranks.contention;
  costs.exchange_s = of_ranks.round_number_s * numbers * static_cast<double>(table.epochs);
  costs.train_s = std::max(0.0, costs.train_s + of_ranks.update_number_s * numbers * updates);
  return costs;
}

} // namespace millrace::tools
