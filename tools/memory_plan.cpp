#include "tools/memory_plan.hpp"

#include "kernels/cached_attention.hpp"
#include "runtime/model/kv_cache.hpp"
#include "runtime/pipeline/schedule_config.hpp"
#include "runtime/pipeline/stages.hpp"
#include "runtime/roles/published_versions.hpp"
#include "runtime/roles/rollout_requests.hpp"
#include "runtime/rollout/engine.hpp"
#include "runtime/text/pattern.hpp"
#include "runtime/train/step_memory.hpp"
#include "runtime/train/trainable.hpp"
#include "runtime/transport/data_plane.hpp"
#include "runtime/words/enum_words.hpp"
#include "tools/model_size.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <utility>

namespace millrace::tools {
namespace {

constexpr std::int64_t mebibyte = std::int64_t{1} << 20;

/// Measured, of a process that computes nothing: LibTorch, CAF, UCX, small tables.
constexpr std::int64_t program_bytes = 135 * mebibyte;

/// Measured, of a tokenizer: for each of its tokens.
constexpr std::int64_t token_bytes = 200;

/// Measured, of an open episode besides keys and values: what a rollout knows of it, and messages; more for each of its
/// tokens, and for each block of keys and values.
constexpr std::int64_t episode_bytes = 8 << 10, episode_token_bytes = 24, block_bytes = 800;

/// Measured, of whoever computes with LibTorch's own products: what it and its libraries set up.
constexpr std::int64_t products_bytes = 45 * mebibyte;

/// Measured, of whoever trains: the same, and the workspaces of products of large matrices.
std::int64_t trainer_bytes(std::int64_t weights) {
  return products_bytes + std::min(64 * mebibyte, weights / 2);
}

/// Keys and values of answers and of the prompts that they share. @param prompt, answer tokens
std::int64_t cache_bytes_of(const model::model_config& c, sampling_precision cached, std::int64_t answers,
                            std::int64_t prompts, std::int64_t prompt, std::int64_t answer) {
  constexpr auto block = kernels::cache_block_tokens;
  const auto blocks = [](std::int64_t tokens) { return (tokens + block - 1) / block; };
  return (answers * blocks(prompt + answer - prompt / block * block) + prompts * blocks(prompt))
         * (model::kv_pool::make(c, at::kCPU, cached)->bytes_per_block() + block_bytes);
}

constexpr auto no_bound = std::numeric_limits<std::int64_t>::max();

/// A file for a GPU is planned on machines without one, too.
bool is_on_gpu(const std::string& device) {
  return device.starts_with("cuda") || (device == "auto" && train::device_named(device).is_cuda());
}

/// Lies in the host's memory also where models are on a GPU.
bool on_host(memory_kind kind) {
  return kind == memory_kind::program || kind == memory_kind::publication || kind == memory_kind::communication
         || kind == memory_kind::episodes;
}

/// When a part is needed. A learner either trains or publishes; a checkpoint takes nothing more. Rollouts that are idle
/// by then, or flip in flight, have new weights before the first gradients come; others take them at any time of the
/// training.
enum class moment : std::uint8_t { always, training, publishing, changing };

struct timed_part {
  memory_part part;
  moment when = moment::always;
};

/// Adds up the parts of each process.
class memory_planner {
public:
  explicit memory_planner(const pipeline::pipeline& p)
      : p_(p), flips_late_(p.schedule.gate.depth > 1 && p.schedule.interrupt.mode != schedule::interrupt_mode::pause) {}

  memory_plan plan() {
    process_ = "run";
    of_process(process_, "");
    for (const auto& [name, table] : p_.models) // the source's words are those of the policy's model
      if (!pipeline::stage_reference_of(table.path)) {
        add(memory_kind::program, token_bytes * model_size_of(table.path).config.vocab_size);
        break;
      }
    for (const auto& role : p_.roles) {
      const auto count = p_.processes_of(role.name);
      for (std::int64_t i = 0; i < std::max<std::int64_t>(count, 1); ++i) {
        process_ = count == 0 ? "run" : role.name + '/' + std::to_string(i);
        of_process(process_, p_.host_of(role.name, i));
        role_ = role.name;
        on_gpu_ = is_on_gpu(device_of(p_, role));
        rank_ = i;
        ranks_ = std::max<std::int64_t>(count, 1);
        std::visit([&](const auto& table) { add_role(table); }, role.options);
      }
    }
    memory_plan made;
    for (auto& [name, host] : order_)
      made.processes.push_back({.process = name, .host = host, .parts = at_most(parts_.at(name))});
    return made;
  }

private:
  using parts = std::vector<timed_part>;

  void of_process(const std::string& name, const std::string& host) {
    if (parts_.contains(name))
      return;
    order_.emplace_back(name, host);
    parts_[name].push_back({{.role = "", .kind = memory_kind::program, .bytes = program_bytes}});
  }

  void add(memory_kind kind, std::int64_t bytes, moment when = moment::always) {
    auto& all = parts_.at(process_);
    const auto same = std::find_if(all.begin(), all.end(), [&](const timed_part& known) {
      return known.part.role == role_ && known.part.kind == kind && known.when == when;
    });
    if (same != all.end())
      same->part.bytes += bytes;
    else if (bytes > 0)
      all.push_back({{.role = role_, .kind = kind, .bytes = bytes, .on_gpu = on_gpu_ && !on_host(kind)}, when});
  }

  /// The parts of the moment at which the process keeps most.
  std::vector<memory_part> at_most(const parts& all) const {
    const auto sum = [&](moment when) {
      std::int64_t bytes = 0;
      for (const auto& one : all)
        bytes += one.when == when ? one.part.bytes : 0;
      return bytes;
    };
    const std::vector<moment> training =
        flips_late_ ? std::vector{moment::training, moment::changing} : std::vector{moment::training};
    std::vector<moment> most;
    std::int64_t most_bytes = -1;
    for (const auto& together : {training, {moment::publishing, moment::changing}}) {
      std::int64_t bytes = 0;
      for (const auto when : together)
        bytes += sum(when);
      if (bytes > most_bytes) {
        most = together;
        most_bytes = bytes;
      }
    }
    std::vector<memory_part> kept;
    for (const auto& [part, when] : all) {
      if (when != moment::always && std::ranges::find(most, when) == most.end())
        continue;
      const auto same = std::find_if(kept.begin(), kept.end(),
                                     [&](const auto& k) { return k.role == part.role && k.kind == part.kind; });
      if (same != kept.end())
        same->bytes += part.bytes;
      else
        kept.push_back(part);
    }
    return kept;
  }

  template <class Table>
  void add_role(const Table& table) {
    if constexpr (requires { table.model; })
      if (!pipeline::stage_reference_of(p_.models.at(table.model).path))
        add_model(table, model_size_of(p_.models.at(table.model).path));
  }

  template <class Table>
  void add_model(const Table& table, const model_size& size) {
    add_parts(table, size);
    if (process_ != "run")
      add(memory_kind::program, token_bytes * size.config.vocab_size);
  }

  bool beside_policy() const { return process_ == "run" && p_.processes_of(p_.policy().name) == 0; }

  /// Whether each rank of the role has only a share of its parameters.
  bool in_shares() const { return ranks_ > 1 && p_.shard_of(role_) == sharding::full; }

  /// Of whoever takes the policy's weights: the model that its adapters stand on, where versions come over the network.
  void base_of_adapters() {
    const auto base = roles::adapter_base(p_);
    const auto& policy = p_.policy().name;
    const bool far =
        p_.placement.transport == word(transport::wire::tcp) || p_.host_of(role_, rank_) != p_.host_of(policy, 0);
    if (!base.empty() && !beside_policy() && far && !pipeline::stage_reference_of(base))
      add(memory_kind::staging, model_size_of(base).stored);
  }

  /// The next version, from when it has come until it is live. @param weights, packed bytes of it
  void change(std::int64_t weights, std::int64_t packed) {
    add(memory_kind::staging, packed, moment::changing);
    const auto& policy = p_.policy().name;
    if (p_.processes_of(policy) > 1 && p_.shard_of(policy) == sharding::full)
      add(memory_kind::staging, weights, moment::changing); // put together out of the ranks' shares
  }

  /// What an engine decodes.
  struct decoded_answers {
    std::int64_t at_once = 1, per_prompt = 1;
    std::int64_t held = 1;               ///< that have keys and values
    std::int64_t most = 1;               ///< that are begun before they are forgotten with a version
    std::int64_t prompt = 1, answer = 1; ///< tokens
    bool flips = true;                   ///< to the next version, which is laid out beside the one that it decodes with
  };

  /// Of an engine: weights as they are laid out, those of the next version as they come and are laid out, caches.
  /// @param packed bytes of the weights as they are laid out
  template <class Table>
  void generation(const Table& table, const model_size& size, std::int64_t packed, const decoded_answers& all,
                  bool prefix_cache = true, std::int64_t bound = 0) {
    const auto dtype = p_.models.at(table.model).dtype;
    add(memory_kind::weights, packed);
    if (!beside_policy()) // else the published ones: they go on lying there for the next version, twice for its delta
      add(memory_kind::staging, (roles::publishes_deltas(p_) ? 2 : 1) * kept_as(dtype, size.weights));
    base_of_adapters();
    change(kept_as(dtype, size.weights), all.flips ? packed : 0);
    const auto& c = size.config;
    const auto prompt = std::min(all.prompt, c.max_positions - 1);
    const auto cache_of = [&](std::int64_t answers) {
      return cache_bytes_of(c, table.cache_dtype, answers, (answers + all.per_prompt - 1) / all.per_prompt, prompt,
                            std::min(all.answer, c.max_positions - prompt));
    };
    const auto cache = cache_of(all.held);
    const std::int64_t kept =
        prefix_cache ? std::min(cache + cache / 4, cache_of(std::max(all.held, all.most))) : cache;
    add(memory_kind::cache, bound > 0 ? std::min(bound, kept) : kept);
    add(memory_kind::activations,
        (rollout::engine_options{}.prefill_rows * (4 * c.hidden_size + 3 * c.ffn_size) + all.at_once * c.vocab_size)
            * number_bytes);
  }

  /// The longest groups that the policy is given. Episodes may be longer than the context: they have segments then.
  train::longest_groups longest(std::int64_t updates, std::int64_t context = no_bound) const {
    train::longest_groups all{.groups = (p_.schedule.groups_per_step + updates - 1) / updates,
                              .answers = 1,
                              .prompt = std::min(roles::longest_prompt(p_), context - 1),
                              .answer = 1,
                              .context = context};
    for (const auto& role : p_.roles)
      if (const auto* rollout = std::get_if<pipeline::rollout_table>(&role.options)) {
        all.answers = std::max(all.answers, rollout->answers_per_prompt);
        const auto most = rollout->max_new_tokens;
        all.answer = std::max(all.answer, rollout->environment.empty() ? std::min(most, context - all.prompt) : most);
      } else if (const auto* rows = std::get_if<pipeline::demonstrations_table>(&role.options)) {
        all.answer = std::max(all.answer, std::min(rows->max_answer_tokens, context - all.prompt));
      }
    return all;
  }

  /// @param trained bytes of the parameters that are trained
  template <class Table>
  void training(const Table& table, const model_size& size, std::int64_t trained, std::int64_t updates,
                std::int64_t adapter_rank) {
    const auto shard = ranks_ == 1 ? sharding::none : p_.shard_of(role_);
    const auto groups = longest(updates, size.config.max_positions);
    const auto whole = train::largest_micro_batch(groups, no_bound).tokens;
    const std::int64_t passes = ranks_ > 1 || on_gpu_ ? 1 : table.micro_batches_at_once; // side by side
    const auto batch = train::largest_micro_batch(
        groups, train::budget_at_once(whole, table.micro_batch_tokens, table.micro_batches_at_once));
    const bool several = batch.tokens < whole;
    add(memory_kind::program, trainer_bytes(size.weights));
    if (shard == sharding::full) {
      add(memory_kind::gradients, trained / ranks_);
      // The table and the head with their gradients; three blocks on their way, and theirs.
      const auto with_gradients = [&](std::int64_t numbers) { return numbers + kept_as(table.compute_dtype, numbers); };
      add(memory_kind::communication, (size.config.tie_embeddings ? 1 : 2) * with_gradients(size.table));
      add(memory_kind::communication, 3 * with_gradients(size.adapted) / std::max<std::int64_t>(1, size.config.layers));
    } else {
      add(memory_kind::gradients, passes * trained, moment::training); // let go of when a step ends
      if (ranks_ > 1) {
        add(memory_kind::gradients, trained / ranks_, moment::training);                    // its share of the sum
        add(memory_kind::communication, trained / ranks_ * (ranks_ - 1), moment::training); // what others have for it
      }
    }
    add(memory_kind::moments, 2 * trained / (shard == sharding::none ? 1 : ranks_));
    const auto activations =
        passes
        * train::activation_bytes(
            size.config, batch,
            {.kept = table.activation_checkpointing ? model::activations::recomputed : model::activations::kept,
             .computes = table.compute_dtype,
             .adapter_rank = adapter_rank});
    // Measured: micro-batches of other sizes leave pieces that nothing fits into.
    add(memory_kind::activations, several ? activations + activations / 5 : activations, moment::training);
  }

  /// Of a learner that computes in bfloat16: what it computes with, beside its parameters. Shares are rounded on the
  /// way.
  /// @param bytes may be below 0: what no longer lies there in fp32
  template <class Table>
  void rounded(const Table& table, std::int64_t bytes) {
    if (table.compute_dtype == precision::bfloat16 && !in_shares())
      add(memory_kind::weights, bytes);
  }

  /// Bytes of the adapters. Their layers are known by the names of the files that would hold them.
  std::int64_t adapters(const pipeline::lora_table& lora, const model_size& size) const {
    const text::pattern targets(lora.targets, "roles." + role_ + ".lora.targets");
    text::pattern::workspace own;
    std::int64_t numbers = 0;
    for (const auto& [name, tensor] : size.shapes)
      if (name.ends_with("_proj.weight") && targets.find(name.substr(0, name.rfind('.')), 0, own))
        numbers += lora.rank * (tensor.size(0) + tensor.size(1));
    return numbers * number_bytes;
  }

  void add_parts(const pipeline::policy_table& table, const model_size& size) {
    const std::int64_t trained = table.lora ? adapters(*table.lora, size) : size.weights;
    const std::int64_t updates = p_.schedule.clock.minibatches * table.updates_per_batch;
    const std::int64_t share = in_shares() ? ranks_ : 1;
    add(memory_kind::weights, size.weights / share + (table.lora ? trained : 0));
    rounded(table, table.lora ? 2 * size.stored - 3 * size.weights / 2 + trained / 2 : size.weights / 2);
    training(table, size, trained, updates, table.lora ? table.lora->rank : 0);
    // Measured: the model as it was read leaves pieces. Gradients and moments of the whole model take them up.
    if (table.lora)
      add(memory_kind::program, size.weights);
    if (p_.schedule.clock.minibatches > 1)
      add(memory_kind::weights, trained / share); // those of the step's start
    if (rank_ > 0 && !in_shares())
      return;
    if (table.ema_decay > 0 && rank_ == 0)
      add(memory_kind::average, size.weights);
    if (table.publishes_to.empty())
      return;
    const std::int64_t merged = table.lora ? size.adapted : 0;
    const auto version = kept_as(p_.models.at(table.model).dtype, size.weights / share);
    const auto kept = static_cast<std::int64_t>(roles::versions_kept(p_)) + (table.publish_deltas ? 1 : 0);
    if (kept > 1 || in_shares() || p_.schedule.clock.publish_every > 1)
      add(memory_kind::publication, kept * version);
    else if (!roles::taken_in_place(p_))
      add(memory_kind::publication, version, moment::changing); // until all have it
    const auto evaluations = p_.of<pipeline::evaluation_table>();
    const bool held = std::ranges::any_of(evaluations, [](const auto* role) {
      const auto& when = std::get<pipeline::evaluation_table>(role->options);
      return when.every > 0 || when.at_start;
    });
    if (held)
      add(memory_kind::publication, version); // that is evaluated
    // Layers with their adapters, until the next step's come.
    add(memory_kind::publication, merged);
    add(memory_kind::publication, merged, moment::publishing);
    // Measured: pieces in the heap that nothing fits into.
    add(memory_kind::publication, (version + merged) * 7 / 10);
  }

  void add_parts(const pipeline::critic_table& table, const model_size& size) {
    auto scored = size;
    scored.config.score_head = true;
    add(memory_kind::weights, size.weights / (in_shares() ? ranks_ : 1));
    rounded(table, size.weights / 2);
    if (in_shares() && rank_ == 0)
      add(memory_kind::weights, kept_as(table.compute_dtype, size.weights)); // it scores with the whole model
    training(table, scored, size.weights, p_.schedule.clock.minibatches, 0);
  }

  void add_parts(const pipeline::rollout_table& table, const model_size& size) {
    const double steps = 1 + p_.schedule.gate.depth;
    const auto live = static_cast<std::int64_t>(
        std::min(1e9, steps * static_cast<double>(p_.schedule.groups_per_step * table.answers_per_prompt)));
    const auto packed = packed_as(p_.models.at(table.model).sampled_as(), size);
    const auto open =
        table.environment.empty() ? table.slots : pipeline::places_of(table, p_.schedule) * table.answers_per_prompt;
    generation(table, size, packed,
               {.at_once = std::min(table.slots, live),
                .per_prompt = table.answers_per_prompt,
                .held = std::min(open, live),
                .most = live,
                .prompt = roles::longest_prompt(p_),
                .answer = table.max_new_tokens},
               table.prefix_cache, table.cache_bytes.bytes);
    if (!table.environment.empty())
      add(memory_kind::episodes, std::min(open, live) * (episode_bytes + episode_token_bytes * table.max_new_tokens));
  }

  void add_parts(const pipeline::evaluation_table& table, const model_size& size) {
    const auto packed = kept_as(p_.models.at(table.model).dtype, size.packed);
    generation(table, size, packed,
               {.at_once = table.slots,
                .per_prompt = table.answers_per_prompt,
                .held = table.environment.empty() ? table.slots : 2 * table.slots, // as many as it begins
                .most = std::int64_t{1} << 30,
                .prompt = table.max_prompt_tokens,
                .answer = table.max_new_tokens,
                .flips = false});
  }

  void add_parts(const pipeline::reference_table& table, const model_size& size) {
    const auto dtype = p_.models.at(table.model).dtype;
    add(memory_kind::weights, kept_as(dtype, size.packed));
    if (table.follows()) {
      add(memory_kind::staging, kept_as(dtype, (beside_policy() ? 0 : 1) * size.weights), moment::changing);
      base_of_adapters();
      change(kept_as(dtype, size.weights), kept_as(dtype, size.packed));
    }
    add(memory_kind::activations, passes(size, no_bound));
  }

  void add_parts(const pipeline::reward_model_table& table, const model_size& size) {
    add(memory_kind::weights, kept_as(p_.models.at(table.model).dtype, size.weights));
    add(memory_kind::program, products_bytes);
    add(memory_kind::activations, passes(size, table.tokens_at_once));
  }

  /// It has the tokenizer alone.
  void add_parts(const pipeline::demonstrations_table&, const model_size&) {}

  /// A forward pass over the answers of a group. @param tokens at most
  std::int64_t passes(const model_size& size, std::int64_t tokens) const {
    const auto groups = longest(1);
    const auto& c = size.config;
    return std::min(tokens, groups.answers * (groups.prompt + groups.answer)) * (4 * c.hidden_size + 3 * c.ffn_size)
           * number_bytes;
  }

  const pipeline::pipeline& p_;
  bool flips_late_;
  bool on_gpu_ = false;                                    ///< the role whose parts are added
  std::map<std::string, parts> parts_;                     ///< by process
  std::vector<std::pair<std::string, std::string>> order_; ///< processes and their hosts
  std::string process_, role_;                             ///< whose parts are added
  std::int64_t rank_ = 0, ranks_ = 1;
};

} // namespace

std::int64_t process_memory::bytes() const {
  std::int64_t sum = 0;
  for (const auto& part : parts)
    sum += part.bytes;
  return sum;
}

std::int64_t memory_plan::bytes_here() const {
  std::int64_t sum = 0;
  for (const auto& process : processes)
    if (process.host.empty())
      for (const auto& part : process.parts)
        sum += part.on_gpu ? 0 : part.bytes;
  return sum;
}

std::int64_t memory_plan::bytes_on_gpu() const {
  std::int64_t sum = 0;
  for (const auto& process : processes)
    if (process.host.empty())
      for (const auto& part : process.parts)
        sum += part.on_gpu ? part.bytes : 0;
  return sum;
}

bool memory_plan::on_gpu() const {
  return std::any_of(processes.begin(), processes.end(), [](const process_memory& process) {
    return std::any_of(process.parts.begin(), process.parts.end(), [](const auto& part) { return part.on_gpu; });
  });
}

std::int64_t waiting_bytes(const pipeline::pipeline& p, const schedule::waiting_episodes& waiting,
                           double prompt_tokens) {
  const auto& table = std::get<pipeline::rollout_table>(p.of<pipeline::rollout_table>().at(0)->options);
  if (waiting.answers == 0 || pipeline::stage_reference_of(p.models.at(table.model).path))
    return 0;
  const auto bytes = cache_bytes_of(model_size_of(p.models.at(table.model).path).config, table.cache_dtype,
                                    waiting.answers, waiting.groups, std::llround(prompt_tokens),
                                    std::llround(waiting.tokens / static_cast<double>(waiting.answers)));
  return table.cache_bytes.bytes > 0 ? std::min(bytes, table.cache_bytes.bytes) : bytes;
}

std::uint64_t numbers_of_model(const std::filesystem::path& model) {
  return static_cast<std::uint64_t>(model_size_of(model).weights / number_bytes);
}

memory_plan memory_plan_of(const pipeline::pipeline& p) {
  return memory_planner(p).plan();
}

} // namespace millrace::tools
