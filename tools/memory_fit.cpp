#include "runtime/run_files/storage.hpp"
#include "runtime/watch/memory.hpp"
#include "runtime/words/input_error.hpp"
#include "tools/memory_plan.hpp"

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <utility>
#include <variant>

/// Whether a plan of memory fits on this host, and what would make it fit.
namespace millrace::tools {
namespace {

/// A number in a file of the control groups; nothing: there is none, or it says "max".
std::optional<std::int64_t> number_in(const std::filesystem::path& file) {
  std::error_code gone;
  if (!std::filesystem::exists(file, gone))
    return {};
  try {
    const auto text = run_files::read_file(file);
    char* end = nullptr;
    const auto number = std::strtoll(text.c_str(), &end, 10);
    return end == text.c_str() ? std::nullopt : std::optional<std::int64_t>(number);
  } catch (const run_files::storage_error&) {
    return {};
  }
}

/// The path of this process's control group in the hierarchy of `controller` ("" = of version 2).
std::string group_of(const std::string& controller) {
  std::string groups;
  try {
    groups = run_files::read_file("/proc/self/cgroup");
  } catch (const run_files::storage_error&) {
    return {};
  }
  const auto head = ':' + controller + ':';
  const auto at = groups.find(head);
  return at == std::string::npos ? std::string()
                                 : groups.substr(at + head.size(), groups.find('\n', at) - at - head.size());
}

/// The least limit of the group at `path` and of those that it is in.
std::optional<std::int64_t> least_limit(const std::filesystem::path& root, const std::string& path, const char* name) {
  std::optional<std::int64_t> least;
  auto folder = std::filesystem::path(root.string() + path).lexically_normal();
  while (folder.string().starts_with(root.string())) {
    if (const auto limit = number_in(folder / name); limit && (!least || *limit < *least))
      least = limit;
    if (folder == root || folder == folder.parent_path())
      break;
    folder = folder.parent_path();
  }
  return least;
}

/// Values of one key that make a run smaller, from the mildest on.
struct changes_of_key {
  std::string key;
  std::vector<std::pair<std::string, std::function<void(pipeline::pipeline&)>>> values; ///< as text, and what it does
};

/// The last ones change numbers by a rounding.
using changes_by_harm = std::array<std::vector<changes_of_key>, 7>;

template <class Table>
Table& table_of(pipeline::pipeline& p, std::size_t role) {
  return std::get<Table>(p.roles[role].options);
}

template <class Table>
void add_changes_of_learner(changes_by_harm& all, const pipeline::pipeline& p, std::size_t i) {
  const auto* table = std::get_if<Table>(&p.roles[i].options);
  if (!table)
    return;
  const auto& name = p.roles[i].name;
  if (!table->activation_checkpointing)
    all[0].push_back({"roles." + name + ".activation_checkpointing",
                      {{"true", [i](auto& changed) { table_of<Table>(changed, i).activation_checkpointing = true; }}}});
  if (table->micro_batches_at_once > 1)
    all[0].push_back({"roles." + name + ".micro_batches_at_once",
                      {{"1", [i](auto& changed) { table_of<Table>(changed, i).micro_batches_at_once = 1; }}}});
  auto& fewer = all[1].emplace_back(changes_of_key{"roles." + name + ".micro_batch_tokens", {}});
  for (auto tokens = table->micro_batch_tokens / 2; tokens >= 64; tokens /= 2)
    fewer.values.emplace_back(std::to_string(tokens),
                              [i, tokens](auto& changed) { table_of<Table>(changed, i).micro_batch_tokens = tokens; });
  if (p.shard_of(name) == sharding::none && p.processes_of(name) > 1)
    all[4].push_back({"placement." + name + ".shard", {{"optimizer", [name](auto& changed) {
                                                          changed.placement.roles.at(name).shard = sharding::optimizer;
                                                        }}}});
  if (table->compute_dtype == precision::float32)
    all[6].push_back({"roles." + name + ".compute_dtype", {{word(precision::bfloat16), [i](auto& changed) {
                                                              table_of<Table>(changed, i).compute_dtype =
                                                                  precision::bfloat16;
                                                            }}}});
}

/// Keys and values that take fewer bytes, where they may.
void add_narrower_cache(changes_by_harm& all, const pipeline::pipeline& p, std::size_t i,
                        const pipeline::rollout_table& table) {
  if (pipeline::device_of(p, p.roles[i]).starts_with("cuda"))
    return;
  auto& narrower = all[5].emplace_back(changes_of_key{"roles." + p.roles[i].name + ".cache_dtype", {}});
  for (const auto kept : {sampling_precision::bfloat16, sampling_precision::int8})
    if (kept > table.cache_dtype)
      narrower.values.emplace_back(
          word(kept), [i, kept](auto& changed) { table_of<pipeline::rollout_table>(changed, i).cache_dtype = kept; });
}

/// A cache keeps room for a few answers.
void add_changes_of_rollout(changes_by_harm& all, const pipeline::pipeline& p, std::size_t i, const memory_plan& plan) {
  const auto* table = std::get_if<pipeline::rollout_table>(&p.roles[i].options);
  if (!table)
    return;
  std::int64_t cache = 0;
  for (const auto& process : plan.processes)
    for (const auto& part : process.parts)
      if (part.role == p.roles[i].name && part.kind == memory_kind::cache)
        cache = part.bytes;
  const auto key = "roles." + p.roles[i].name + '.';
  auto& bounded = all[2].emplace_back(changes_of_key{key + "cache_bytes", {}});
  for (auto bytes = cache / 2 >> 20 << 20; bytes > 4 * cache / table->slots; bytes = bytes / 2 >> 20 << 20)
    bounded.values.emplace_back(std::to_string(bytes), [i, bytes](auto& changed) {
      table_of<pipeline::rollout_table>(changed, i).cache_bytes.bytes = bytes;
    });
  auto& fewer = all[3].emplace_back(changes_of_key{key + "slots", {}});
  for (auto slots = table->slots / 2; slots >= 1; slots /= 2)
    fewer.values.emplace_back(std::to_string(slots), [i, slots](auto& changed) {
      table_of<pipeline::rollout_table>(changed, i).slots = slots;
    });
  add_narrower_cache(all, p, i, *table);
}

/// The least harmful first: none but the last two changes what is learned.
std::vector<changes_of_key> changes_of(const pipeline::pipeline& p, const memory_plan& plan) {
  changes_by_harm by_harm;
  for (std::size_t i = 0; i < p.roles.size(); ++i) {
    add_changes_of_learner<pipeline::policy_table>(by_harm, p, i);
    add_changes_of_learner<pipeline::critic_table>(by_harm, p, i);
    add_changes_of_rollout(by_harm, p, i, plan);
  }
  std::vector<changes_of_key> all;
  for (auto& alike : by_harm)
    for (auto& changes : alike)
      all.push_back(std::move(changes));
  return all;
}

bool fits(const memory_plan& plan, const host_memory& host) {
  return plan.bytes_here() <= host.bytes && plan.bytes_on_gpu() <= host.gpu.value_or(plan.bytes_on_gpu());
}

/// Which value each key has; 0: its own.
using choice = std::vector<std::size_t>;

bool fits(const pipeline::pipeline& p, const std::vector<changes_of_key>& changes, const choice& chosen,
          const host_memory& host) {
  auto changed = p;
  for (std::size_t k = 0; k < changes.size(); ++k)
    if (chosen[k] > 0)
      changes[k].values[chosen[k] - 1].second(changed);
  return fits(memory_plan_of(changed), host);
}

/// The mildest value of the key with which the run fits, what is chosen of the others as it is. @returns whether one
/// does
bool choose_mildest(const pipeline::pipeline& p, const std::vector<changes_of_key>& changes, choice& chosen,
                    std::size_t key, const host_memory& host) {
  for (chosen[key] = 0; chosen[key] <= changes[key].values.size(); ++chosen[key])
    if (fits(p, changes, chosen, host))
      return true;
  return false;
}

/// One change if one is enough, the least harmful; else the least harmful together, each as mild as may be. @returns ""
/// = all of them are not enough
std::string smallest_change(const pipeline::pipeline& p, const memory_plan& plan, const host_memory& host) {
  const auto changes = changes_of(p, plan);
  choice chosen(changes.size(), 0);
  std::size_t used = 0; // keys
  for (; used < changes.size(); ++used) {
    if (choose_mildest(p, changes, chosen, used, host))
      break;
    chosen[used] = 0;
  }
  if (used == changes.size()) {
    for (used = 0; used < changes.size(); ++used) {
      chosen[used] = changes[used].values.size();
      if (fits(p, changes, chosen, host))
        break;
    }
    if (used == changes.size())
      return {};
    for (std::size_t k = used + 1; k-- > 0;)
      choose_mildest(p, changes, chosen, k, host);
  }
  std::string text;
  for (std::size_t k = 0; k < changes.size(); ++k)
    if (chosen[k] > 0)
      text += (text.empty() ? "--set " : " --set ") + changes[k].key + '=' + changes[k].values[chosen[k] - 1].first;
  return text;
}

const memory_part* largest_part(const memory_plan& plan, std::string& process_of_it) {
  const memory_part* largest = nullptr;
  for (const auto& process : plan.processes)
    for (const auto& part : process.parts)
      if (!largest || part.bytes > largest->bytes) {
        largest = &part;
        process_of_it = process.process;
      }
  return largest;
}

std::string part_in_words(const memory_part& part) {
  return (part.role.empty() ? std::string() : part.role + "'s ") + std::string(word(part.kind));
}

std::string row(const std::string& left, std::int64_t bytes, const std::string& right = "") {
  auto text = left;
  text.resize(std::max<std::size_t>(text.size() + 1, 40), ' ');
  const auto size = bytes_in_words(bytes);
  return text + std::string(size.size() < 10 ? 10 - size.size() : 0, ' ') + size + (right.empty() ? "" : "  " + right)
         + '\n';
}

} // namespace

host_memory memory_of_this_host() {
  host_memory host{.bytes = std::int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE)};
  for (const auto& limit : {least_limit("/sys/fs/cgroup", group_of(""), "memory.max"),
                            least_limit("/sys/fs/cgroup/memory", group_of("memory"), "memory.limit_in_bytes")})
    if (limit && *limit < host.bytes) {
      host.bytes = *limit;
      host.what = "memory of its control group";
    }
  for (const auto& gpu : watch::gpus_in_use())
    host.gpu = host.gpu.value_or(0) + gpu.memory_total;
  return host;
}

std::string refusal_of(const pipeline::pipeline& p, const memory_plan& plan, const host_memory& host) {
  if (fits(plan, host))
    return {};
  const bool here = plan.bytes_here() > host.bytes;
  std::string process;
  const auto* largest = largest_part(plan, process);
  const auto change = smallest_change(p, plan, host);
  return "the run does not fit on this host: it may come to "
         + bytes_in_words(here ? plan.bytes_here() : plan.bytes_on_gpu()) + ", found "
         + bytes_in_words(here ? host.bytes : *host.gpu) + " of " + (here ? host.what : "GPU memory") + "; most are "
         + part_in_words(*largest) + " in " + process + ", " + bytes_in_words(largest->bytes) + "; "
         + (change.empty() ? "no smaller micro-batch or cache and no bfloat16 makes it fit: want a smaller model, or "
                             "roles on other hosts"
                           : "it fits with " + change);
}

std::string in_words(const memory_plan& plan, const host_memory& host) {
  std::string process_of_it;
  const auto* largest = largest_part(plan, process_of_it);
  std::string text = "memory at most, with prompts, answers and micro-batches as long as they may be:\n";
  for (const auto& process : plan.processes) {
    text += row("  " + process.process + (process.host.empty() ? "" : " on " + process.host), process.bytes());
    for (const auto& part : process.parts)
      text += row("    " + part_in_words(part), part.bytes, &part == largest ? "the largest part" : "");
  }
  text += row("  this host", plan.bytes_here(), "of " + bytes_in_words(host.bytes) + ' ' + host.what);
  if (plan.on_gpu() && host.gpu)
    text += row("  its GPUs", plan.bytes_on_gpu(), "of " + bytes_in_words(*host.gpu));
  return text;
}

std::string in_json(const memory_plan& plan, const host_memory& host) {
  nlohmann::ordered_json object{
      {"processes", nlohmann::ordered_json::array()}, {"bytes", plan.bytes_here()}, {"host_bytes", host.bytes}};
  if (plan.on_gpu()) {
    object["gpu_bytes"] = plan.bytes_on_gpu();
    object["host_gpu_bytes"] = host.gpu.value_or(0);
  }
  for (const auto& process : plan.processes) {
    nlohmann::ordered_json one{{"process", process.process}, {"host", process.host}, {"bytes", process.bytes()}};
    for (const auto& part : process.parts)
      one["parts"].push_back(
          {{"role", part.role}, {"kind", word(part.kind)}, {"bytes", part.bytes}, {"gpu", part.on_gpu}});
    object["processes"].push_back(std::move(one));
  }
  return object.dump();
}

std::string memory_in_words(const std::vector<pipeline::stage>& stages, const host_memory& host) {
  std::string text;
  for (const auto& [name, p] : stages)
    text += (name.empty() ? "" : "stage " + name + ": ") + in_words(memory_plan_of(p), host);
  return text;
}

void want_memory(const std::vector<pipeline::stage>& stages, const host_memory& host) {
  for (const auto& [name, p] : stages)
    if (const auto why = refusal_of(p, memory_plan_of(p), host); !why.empty())
      throw input_error((name.empty() ? "" : "stage " + name + ": ") + why);
}

std::string bytes_in_words(std::int64_t bytes) {
  constexpr std::array<const char*, 4> units{"KiB", "MiB", "GiB", "TiB"};
  double shown = static_cast<double>(bytes) / 1024;
  std::size_t unit = 0;
  for (; shown >= 1024 && unit + 1 < units.size(); ++unit)
    shown /= 1024;
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %s", shown, units[unit]);
  return text;
}

} // namespace millrace::tools
