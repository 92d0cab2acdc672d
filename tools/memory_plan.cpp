#include "tools/memory_plan.hpp"

#include "runtime/model/checkpoint.hpp"
#include "runtime/pipeline/stages.hpp"
#include "runtime/roles/rollout_requests.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <utility>

namespace millrace::tools {
namespace {

/// What a model is, without its weights.
struct model_size {
  std::int64_t learned = 0;         ///< bytes of the weights as a learner has them
  std::int64_t weights = 0;         ///< and as the others have them
  std::int64_t numbers_a_token = 0; ///< of an answer's keys and values
  std::int64_t longest_answer = 0;  ///< tokens of the model's context
};

model_size model_size_of(const std::filesystem::path& path, precision kept) {
  const auto about = model::load_checkpoint(path, {.weights = false, .shapes = true, .score_head = true});
  std::int64_t count = 0;
  for (const auto& parameter : about.parameters)
    count += parameter.tensor.numel();
  return {.learned = count * bytes_a_number(precision::float32),
          .weights = count * bytes_a_number(kept),
          .numbers_a_token = 2 * about.config.layers * about.config.kv_heads * about.config.head_dim,
          .longest_answer = about.config.max_positions};
}

/// Adds up the parts of each role.
class memory_planner {
public:
  explicit memory_planner(const pipeline::pipeline& p) : p_(p) {}

  planned_memory plan(const pipeline::role& role) {
    planned_memory planned{.role = role.name, .processes = std::max<std::int64_t>(1, p_.processes_of(role.name))};
    std::visit(
        [&](const auto& table) {
          if constexpr (requires { table.model; })
            if (!pipeline::stage_reference_of(p_.models.at(table.model).path))
              add(planned, table, model(table.model));
        },
        role.options);
    return planned;
  }

private:
  const model_size& model(const std::string& name) {
    const auto& source = p_.models.at(name);
    const auto known = sizes_.find(name);
    return known != sizes_.end() ? known->second
                                 : sizes_.emplace(name, model_size_of(source.path, source.dtype)).first->second;
  }

  static void part(planned_memory& planned, const char* what, std::int64_t bytes) {
    planned.bytes += bytes;
    planned.parts += (planned.parts.empty() ? "" : ", ") + std::string(what) + ' ' + bytes_in_words(bytes);
  }

  /// @param bound of the caches; 0: none
  static void caches(planned_memory& planned, const model_size& size, std::int64_t answers, std::int64_t tokens,
                     precision cached, std::int64_t bound = 0) {
    tokens = std::min(tokens, size.longest_answer);
    const std::int64_t bytes = answers * tokens * size.numbers_a_token * bytes_a_number(cached);
    if (bound > 0 && bound < bytes)
      return part(planned, "caches within cache_bytes", bound);
    const auto what = "caches of " + std::to_string(answers) + " answers of " + std::to_string(tokens) + " tokens";
    part(planned, what.c_str(), bytes);
  }

  /// Ranks add up gradients in a second copy, and may share out the moments.
  void training(planned_memory& planned, const model_size& size) const {
    const auto placed = p_.placement.roles.find(planned.role);
    const auto shard = placed == p_.placement.roles.end() ? sharding::none : placed->second.shard;
    const bool shares = shard != sharding::none, full = shard == sharding::full;
    part(planned, full ? "its share of the weights" : "weights", size.learned / (full ? planned.processes : 1));
    part(planned, full ? "its share of the gradients" : "gradients",
         full ? size.learned / planned.processes : (planned.processes > 1 ? 2 : 1) * size.learned);
    part(planned, shares ? "its share of the moments" : "moments", 2 * size.learned / (shares ? planned.processes : 1));
  }

  void add(planned_memory& planned, const pipeline::rollout_table& table, const model_size& size) const {
    part(planned, "weights", size.weights);
    part(planned, "the next weights", size.weights);
    caches(planned, size, table.slots, roles::longest_prompt(p_) + table.max_new_tokens, table.cache_dtype,
           table.cache_bytes.bytes);
  }

  static void add(planned_memory& planned, const pipeline::evaluation_table& table, const model_size& size) {
    part(planned, "weights", size.weights);
    caches(planned, size, table.slots, table.max_prompt_tokens + table.max_new_tokens, table.cache_dtype);
  }

  void add(planned_memory& planned, const pipeline::policy_table& table, const model_size& size) const {
    if (table.lora) // adapters are small beside them
      part(planned, "weights", size.learned);
    else
      training(planned, size);
    if (table.ema_decay > 0)
      part(planned, "the average", size.learned);
  }

  void add(planned_memory& planned, const pipeline::critic_table&, const model_size& size) const {
    training(planned, size);
  }

  /// It has the tokenizer alone.
  static void add(planned_memory&, const pipeline::demonstrations_table&, const model_size&) {}

  template <class Table>
  static void add(planned_memory& planned, const Table&, const model_size& size) {
    part(planned, "weights", size.weights);
  }

  const pipeline::pipeline& p_;
  std::map<std::string, model_size> sizes_; ///< by the model's name
};

} // namespace

std::vector<planned_memory> planned_memory_of(const pipeline::pipeline& p) {
  memory_planner each(p);
  std::vector<planned_memory> all;
  for (const auto& role : p.roles)
    if (auto planned = each.plan(role); planned.bytes > 0)
      all.push_back(std::move(planned));
  return all;
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
