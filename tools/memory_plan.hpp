#pragma once

#include "runtime/pipeline/stages.hpp"
#include "runtime/schedule/prediction.hpp"
#include "runtime/words/enum_words.hpp"

#include <array>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace millrace::tools {

/// What memory is for.
enum class memory_kind : std::uint8_t {
  weights,       ///< that a role computes with, laid out and as they came
  average,       ///< of the weights
  gradients,     ///< and their sums
  moments,       ///< of the optimizer
  activations,   ///< of one micro-batch, forward and backward; of one step of generation
  cache,         ///< keys and values of answers
  episodes,      ///< the rest of what is known of those that are open
  publication,   ///< versions of the weights that others may still pull
  staging,       ///< the next version, before it is live
  communication, ///< what ranks receive of each other's gradients
  program,       ///< the process itself: libraries, their threads, tokenizers
};

constexpr auto words_for(memory_kind) {
  return std::to_array<std::string_view>({"weights", "average", "gradients", "moments", "activations", "cache",
                                          "episodes", "publication", "staging", "communication", "program"});
}

struct memory_part {
  std::string role; ///< "" = of the process
  memory_kind kind = memory_kind::program;
  std::int64_t bytes = 0;
  bool on_gpu = false; ///< and not in the host's memory
};

/// The most that one process keeps at a time.
struct process_memory {
  std::string process; ///< "run", "learner/0"
  std::string host;    ///< "" = this one
  std::vector<memory_part> parts;

  std::int64_t bytes() const;
};

/// The most that a run keeps at a time, if prompts, answers and micro-batches are as long as they may be: by process,
/// role and kind, as far as tables and the shapes of models say it. A model that an earlier stage writes has no shape
/// yet: its roles are left out.
struct memory_plan {
  std::vector<process_memory> processes; ///< the run's own first

  std::int64_t bytes_here() const; ///< of the processes of this host, in its memory
  std::int64_t bytes_on_gpu() const;

  bool on_gpu() const; ///< whether a role of this host or another computes on a GPU
};

/// @throws input_error for a model that cannot be read
memory_plan memory_plan_of(const pipeline::pipeline& p);

/// Keys and values of a rollout's episodes that wait, and of their prompts; bounded as its cache is.
/// @param prompt_tokens of one group; 0: not known
/// @throws input_error for a model that cannot be read
std::int64_t waiting_bytes(const pipeline::pipeline& p, const schedule::waiting_episodes& waiting,
                           double prompt_tokens);

/// Numbers of a model's weights. @throws input_error for a model that cannot be read
std::uint64_t numbers_of_model(const std::filesystem::path& model);

/// What this host lets a run have.
struct host_memory {
  std::int64_t bytes = 0;          ///< of its memory; of this process's control group, if that is less
  std::string what = "memory";     ///< "memory", "memory of its control group", "memory as said"
  std::optional<std::int64_t> gpu; ///< bytes of its GPUs; nothing: it has none
};

host_memory memory_of_this_host();

/// Why a run does not fit on a host, in one line with the smallest change that would make it fit, found by planning
/// again with the change; "" = it fits.
std::string refusal_of(const pipeline::pipeline& p, const memory_plan& plan, const host_memory& host);

/// A table: a line a process with its sum, a line a part, the largest part named, the host's sum against what it has.
std::string in_words(const memory_plan& plan, const host_memory& host);

/// {"processes": [{"process", "host", "bytes", "parts": [{"role", "kind", "bytes"}]}], "bytes", "host_bytes"}
std::string in_json(const memory_plan& plan, const host_memory& host);

/// The table of each stage, with its name before it where there is one.
std::string memory_in_words(const std::vector<pipeline::stage>& stages,
                            const host_memory& host = memory_of_this_host());

/// @throws input_error with `refusal_of` the first stage that does not fit on the host
void want_memory(const std::vector<pipeline::stage>& stages, const host_memory& host = memory_of_this_host());

/// "1.5 GiB"
std::string bytes_in_words(std::int64_t bytes);

} // namespace millrace::tools
