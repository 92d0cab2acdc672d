#include "tools/rank_costs.hpp"

#include "runtime/collective/gloo_group.hpp"
#include "runtime/model/computing_threads.hpp"
#include "runtime/telemetry/trace.hpp"
#include "tools/memory_plan.hpp"

#include <ATen/ATen.h>

#include <algorithm>
#include <barrier>
#include <functional>
#include <future>
#include <memory>

namespace millrace::tools {
namespace {

using telemetry::now_s;

constexpr int times = 3;
constexpr std::int64_t rows = 512, width = 1024; // of a product
constexpr std::int64_t sent_bytes = 16 << 20;    // to each other rank

/// Runs `work(rank)` on a thread for each rank, all at the same moment, a few times. @returns the shortest time in
/// which all were done, in seconds
double seconds_of(int ranks, const std::function<void(int)>& work) {
  std::barrier begin(ranks + 1), end(ranks + 1);
  std::vector<std::future<void>> all;
  for (int rank = 0; rank < ranks; ++rank)
    all.push_back(std::async(std::launch::async, [&, rank] {
      for (int i = 0; i < times; ++i) {
        begin.arrive_and_wait();
        work(rank);
        end.arrive_and_wait();
      }
    }));
  double best = 0;
  for (int i = 0; i < times; ++i) {
    begin.arrive_and_wait();
    const double start = now_s();
    end.arrive_and_wait();
    const double took = now_s() - start;
    best = i == 0 ? took : std::min(best, took);
  }
  for (auto& one : all)
    one.get();
  return best;
}

double contention_of(int ranks, int threads) {
  const at::Tensor left = at::ones({rows, width}), right = at::ones({width, width});
  const auto work = [&](int) {
    model::use_computing_threads(threads);
    for (int i = 0; i < 20; ++i)
      at::mm(left, right);
  };
  return std::max(1.0, seconds_of(ranks, work) / seconds_of(1, work));
}

/// The rendezvous of ranks that are threads of this process: each hears what another says.
std::vector<std::shared_ptr<collective::rendezvous>> rendezvous_of(int ranks) {
  auto all = std::make_shared<std::vector<std::weak_ptr<collective::rendezvous>>>();
  std::vector<std::shared_ptr<collective::rendezvous>> made;
  for (int own = 0; own < ranks; ++own) {
    made.push_back(
        std::make_shared<collective::rendezvous>([all, own](const std::string& key, const std::string& value) {
          for (std::size_t other = 0; other < all->size(); ++other)
            if (const auto there = (*all)[other].lock(); there && other != static_cast<std::size_t>(own))
              there->told(key, value);
        }));
  }
  all->assign(made.begin(), made.end());
  return made;
}

double byte_s_of(int ranks) {
  const auto words = rendezvous_of(ranks);
  std::vector<std::future<std::unique_ptr<collective::group>>> connected;
  for (int rank = 0; rank < ranks; ++rank)
    connected.push_back(std::async(std::launch::async, [&, rank] {
      return collective::connect_gloo({.rank = rank, .size = ranks}, words[static_cast<std::size_t>(rank)]);
    }));
  std::vector<std::unique_ptr<collective::group>> groups;
  for (auto& one : connected)
    groups.push_back(one.get());
  const at::Tensor out = at::zeros({sent_bytes}, at::kByte);
  std::vector<std::vector<at::Tensor>> in(groups.size());
  for (auto& of_rank : in)
    for (int other = 0; other < ranks; ++other)
      of_rank.push_back(at::zeros({sent_bytes}, at::kByte));
  const auto seconds = seconds_of(ranks, [&](int rank) {
    const std::vector<at::Tensor> outgoing(groups.size(), out);
    groups[static_cast<std::size_t>(rank)]->exchange(outgoing, in[static_cast<std::size_t>(rank)]);
  });
  return seconds / static_cast<double>(sent_bytes * (ranks - 1));
}

} // namespace

rank_costs measure_ranks(int ranks, int threads) {
  if (ranks < 2)
    return {};
  return {.contention = contention_of(ranks, threads), .byte_s = byte_s_of(ranks)};
}

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
    costs.ranks = static_cast<std::uint32_t>(ranks);
    costs.rank_tokens = static_cast<double>(table.micro_batch_tokens);
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
  const auto shard = p.shard_of(name);
  const auto traffic = traffic_of(trained_numbers_of(p), ranks, shard);
  costs.ranks = static_cast<std::uint32_t>(ranks);
  costs.rank_contention = of_ranks.contention;
  costs.exchange_s = traffic.a_round * of_ranks.byte_s;
  if (shard != sharding::none) // each updates its share
    costs.train_s *= of_ranks.contention / static_cast<double>(ranks);
  costs.train_s += traffic.an_update * of_ranks.byte_s;
  return costs;
}

} // namespace millrace::tools
